# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# What people, disks and clocks do to a run.

cni_folder=/etc/cni/net.d
faketime=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1

make_read_only() { on_node "$1" sh -c "mount --bind $cni_folder $cni_folder && mount -o remount,bind,ro $cni_folder"; }

# Above the first layer of the same place, until none is left.
make_writable() { on_node "$1" sh -c "while mountpoint -q $cni_folder; do umount $cni_folder; done"; }

case_read_only_disk() { # the disk of one node takes no writes, so that install-cni fails: the run stops there and says why; healed, it goes on
  make_read_only "$second"
  # Longer than install-cni runs before it fails: the pod is ready that long.
  stable=10s plan_it --ready-within 30s
  ends_with 4 upgrader run "$plan" --yes >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "$second" "$output"
  # Which container, and what became of it.
  grep -q "install-cni" "$output"
  runs "$new" "$first"
  runs "$old" "$control_plane"
  make_writable "$second"
  within 120 runs "$new" "$second"
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

run_record() { kubectl -n calico-upgrader get secrets -l calico-upgrader/part=record -o name; }

case_record_deleted() { # a person deletes the run record and the plan midway: the run stops and says so; this machine's files put both back
  plan_it
  begin_upgrade 1
  kubectl -n calico-upgrader delete secrets -l calico-upgrader/run
  ends 13
  grep -q "record" "$output"
  runs "$old" "$control_plane"
  ends_with 0 upgrader resume "$(run_on_disk)" --yes
  is_upgraded "${nodes[@]}"
}

run_on_disk() { ls "$CALICO_UPGRADER_STATE_DIR/runs"; }

# The words before a command that make the clock of this machine wrong for it alone.
by_clock=(env "LD_PRELOAD=$faketime" FAKETIME_DONT_FAKE_MONOTONIC=1)

case_clock_wrong() { # our clock is a day ahead: no window is trusted, and a run that was begun by it goes on by the right one; a day behind: refused
  [[ -e $faketime ]] || skip "apt-get install libfaketime"
  plan_it
  ends_with 3 "${by_clock[@]}" FAKETIME=+1d "$E2E_PROGRAM" run "$plan" --yes --window "Mon-Sun 00:00-24:00 UTC" >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "1440 min ahead" "$output"
  runs "$old" "${nodes[@]}"
  # Certificates of the cluster are not valid yet, a day before they were made.
  ends_with 15 "${by_clock[@]}" FAKETIME=-1d "$E2E_PROGRAM" discover
  "${by_clock[@]}" FAKETIME=+1d "$E2E_PROGRAM" run "$plan" --yes >"$output" 2>&1 &
  runner=$!
  within 120 grep -q "(1 of 3 done)" "$output"
  kill -KILL "$runner"
  ends 137
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

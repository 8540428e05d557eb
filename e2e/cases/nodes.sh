# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# The program on its own, and what happens to nodes.

case_upgrade() { # v2.5.1 becomes v2.6.12 on every node, and new pods start
  plan_it
  ends_with 0 upgrader run "$plan" --yes
  is_upgraded "${nodes[@]}"
}

case_killed_midway() { # kill -9 when one node of three is done; resume goes on
  plan_it
  begin_upgrade 1
  kill -KILL "$runner"
  ends 137
  runs "$old" "$control_plane"
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

case_image_missing() { # one node cannot pull: the run stops before any node is touched; loaded there, it goes on
  on_node "$second" ctr -n k8s.io images rm "$new"
  plan_it --pull-within 20s
  ends_with 4 upgrader run "$plan" --yes >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "$second" "$output"
  runs "$old" "${nodes[@]}"
  load_images --nodes "$second"
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

case_never_ready() { # calico-node is told not to get ready on one node: the run stops there; healed, it goes on
  on_node "$second" touch /var/run/calico/stand-in-not-ready
  plan_it --ready-within 20s
  ends_with 4 upgrader run "$plan" --yes >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "$second" "$output"
  runs "$new" "$first"
  runs "$old" "$control_plane"
  on_node "$second" rm /var/run/calico/stand-in-not-ready
  within 60 runs "$new" "$second"
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

case_kubelet_stopped() { # a kubelet stops midway: the run stops at its node; started again, it goes on
  plan_it --ready-within 20s
  begin_upgrade 1
  on_node "$second" systemctl stop kubelet
  ends 4
  grep -q "$second" "$output"
  runs "$old" "$control_plane"
  on_node "$second" systemctl start kubelet
  kubectl wait --for=condition=Ready "node/$second" --timeout=90s
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

case_node_tainted() { # a node gets a taint midway that calico-node does not tolerate: the run stops before it and its pod runs on; without the taint it goes on
  plan_it
  begin_upgrade 1
  kubectl taint nodes "$control_plane" repair=disk:NoSchedule
  ends 4
  grep -q 'CU-R033.*repair=disk:NoSchedule' "$output"
  runs "$new" "$first" "$second"
  runs "$old" "$control_plane"
  no_cordon_is_left
  kubectl taint nodes "$control_plane" repair-
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
}

case_node_leaves_and_comes() { # a node is removed midway and comes back as a new one; the upgrade ends with both
  plan_it
  begin_upgrade 1
  on_node "$second" systemctl stop kubelet
  kubectl delete node "$second"
  ends 0
  runs "$new" "$first" "$control_plane"
  on_node "$second" systemctl start kubelet
  within 90 kubectl get node "$second"
  kubectl wait --for=condition=Ready "node/$second" --timeout=90s
  within 60 runs "$new" "$second"
  is_upgraded "${nodes[@]}"
}

case_rollback() { # a finished upgrade is taken back, killed once on its way; every object is as it was
  contents >"$E2E_WORK/before"
  plan_it
  ends_with 0 upgrader run "$plan" --yes
  "$E2E_PROGRAM" rollback --yes >"$output" 2>&1 &
  runner=$!
  within 120 grep -q "(1 of 3 done)" "$output"
  kill -KILL "$runner"
  ends 137
  ends_with 0 upgrader resume --yes
  runs "$old" "${nodes[@]}"
  is_installed v2.5.1 "${nodes[@]}"
  no_cordon_is_left
  new_pods_start
  contents | diff "$E2E_WORK/before" -
}

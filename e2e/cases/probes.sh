# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# Packets between the nodes: what probes count, and a budget.

# no_packets NODE SECONDS: the packets of probes reach neither the node nor its pods for that long.
no_packets() {
  local chain
  for chain in INPUT FORWARD; do on_node "$1" iptables -w -I "$chain" -p udp --dport 29642 -j DROP; done
  sleep "$2"
  for chain in INPUT FORWARD; do on_node "$1" iptables -w -D "$chain" -p udp --dport 29642 -j DROP; done
}

probes() { kubectl -n calico-upgrader get daemonsets,configmaps,pods -l calico-upgrader/part=probe -o name; }

no_probe_is_left() { [[ -z $(probes) ]] || { probes; return 1; }; }

losses() { upgrader report -o json | sed 1d | jq '[.timeline.nodes[].loss | select(. != null)]'; }

case_probes_count() { # probes count what a node does not get for 3 s and the report shows it; killed midway, they go on counting
  plan_it --probe-image "$E2E_IMAGE"
  begin_upgrade 1
  grep -q "probes watch 24 pairs" "$output"
  no_packets "$second" 3
  kill -KILL "$runner"
  ends 137
  [[ $(probes | grep -c daemonset) == 2 ]]
  ends_with 0 upgrader resume --yes
  is_upgraded "${nodes[@]}"
  no_probe_is_left
  losses | tee "$E2E_WORK/losses"
  jq -e 'any(.longest_ms >= 2000 and .longest_ms <= 6000 and .lost >= 10)' "$E2E_WORK/losses"
  jq -e 'any(.[].gaps[]; .ends.to == "'"$second"'" and .ms >= 2000)' "$E2E_WORK/losses"
  jq -e 'any(.new_pod | startswith("got 10.244."))' "$E2E_WORK/losses"
  grep -q c-loss "$CALICO_UPGRADER_STATE_DIR"/runs/*/report.html
  jq -e 'length == 24 and any(.longest_ms >= 2000)' "$CALICO_UPGRADER_STATE_DIR"/runs/*/loss.json
}

case_probes_gate() { # a budget is exceeded: the run stops after that node with the pairs that lost; without a budget it goes on
  export CALICO_UPGRADER_GATE_LOSS=1500ms
  plan_it --probe-image "$E2E_IMAGE"
  "$E2E_PROGRAM" run "$plan" --yes >"$output" 2>&1 &
  runner=$!
  within 120 grep -q "replacing calico-node (0 of 3 done)" "$output"
  no_packets "$first" 4
  ends 4
  grep -q CU-R030 "$output"
  grep -q "to $first" "$output"
  runs "$new" "$first"
  runs "$old" "$second" "$control_plane"
  no_cordon_is_left
  unset CALICO_UPGRADER_GATE_LOSS
  ends_with 0 upgrader resume --yes
  no_probe_is_left
  is_upgraded "${nodes[@]}"
}

# counts_a_gap NAME: keeps packets from a node while the Job replaces the next one, and the log of the Job tells of it.
counts_a_gap() {
  within 120 says_in "$1" "(1 of 3 done)"
  no_packets "$second" 3
  completes "$1" 240
  logs_of "$1" | tee "$output"
  grep -qE "the longest gap [2-6](\.[0-9])? s" "$output"
  no_probe_is_left
}

case_probes_job() { # Jobs watch packets there and back: the log of each tells what a node did not get for 3 s, and every object is as it was
  contents >"$E2E_WORK/before"
  apply_rights run --probes
  apply_manifests job "$E2E_IMAGE" --probes -- --to v2.6 --allow-untested --stable-for 1s
  counts_a_gap calico-upgrader
  is_upgraded "${nodes[@]}"
  apply_rights rollback --probes
  apply_manifests rollback "$E2E_IMAGE" --probes
  counts_a_gap calico-upgrader-rollback
  runs "$old" "${nodes[@]}"
  no_cordon_is_left
  contents | diff "$E2E_WORK/before" -
}

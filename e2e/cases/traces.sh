# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# Traces of a Job, sent to a collector on the address of its own node.

# keeps_traces NODE
keeps_traces() {
  on_node -i "$1" sh -c 'cat >/root/collector.pl && rm -f /root/traces' <"$here/collector.pl"
  on_node -d "$1" perl /root/collector.pl /root/traces
}

# What the collectors of all nodes got, as hexadecimal digits.
traces() {
  local node
  for node in "$first" "$second" "$control_plane"; do on_node "$node" sh -c 'cat /root/traces 2>/dev/null || true'; done | od -An -v -tx1 | tr -d ' \n'
}

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

case_job_traced() { # a Job whose program is killed midway sends traces to its node (FEATURES=otel): what both pods did is one trace
  local node trace word
  [[ $E2E_FEATURES == *otel* ]] || skip "the image has no traces: FEATURES=otel e2e/run.sh job-traced"
  plan_it
  apply_rights run
  for node in "$first" "$second" "$control_plane"; do keeps_traces "$node"; done
  begin_as_job 1 --otlp-endpoint http://127.0.0.1:4318
  kill_program_of calico-upgrader
  ends 0
  trace=$(sed -n 's/.*Trace  *\([0-9a-f]\{32\}\) to http.*/\1/p' "$output" | sort -u)
  [[ $trace =~ ^[0-9a-f]{32}$ ]]
  traces >"$E2E_WORK/traces"
  # The span of the whole run is sent by the second pod alone. Its name is field 5.
  for word in "$trace" "2a03$(hex run)" "$(hex back-up)" "$(hex replace-node)" "$(hex "$first")" "$(hex "$second")" "$(hex "$control_plane")"; do
    grep -q "$word" "$E2E_WORK/traces" || { echo "no collector got $word"; return 1; }
  done
  for node in "$first" "$second" "$control_plane"; do on_node "$node" pkill -f collector.pl; done
}

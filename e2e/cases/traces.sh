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
  for node in "${nodes[@]}"; do on_node "$node" sh -c 'cat /root/traces 2>/dev/null || true'; done | od -An -v -tx1 | tr -d ' \n'
}

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

# with_collectors COMMAND...: each node has a collector meanwhile. The case ends with it.
with_collectors() {
  local node
  trap stop_collectors EXIT
  for node in "${nodes[@]}"; do keeps_traces "$node"; done
  "$@"
}

stop_collectors() {
  local node
  for node in "${nodes[@]}"; do on_node "$node" pkill -f collector.pl || true; done
}

# collected WORD...: the collectors got each of these hexadecimal words.
collected() {
  local word
  traces >"$E2E_WORK/traces"
  for word in "$@"; do
    grep -q "$word" "$E2E_WORK/traces" || { echo "no collector got $word"; return 1; }
  done
}

need_traces() { [[ $E2E_FEATURES == *otel* ]] || skip "the image has no traces: FEATURES=otel e2e/run.sh $1"; }

case_job_traced() { # a Job whose program is killed midway sends traces to its node (FEATURES=otel): what both pods did is one trace
  need_traces job-traced
  plan_it
  apply_rights run
  with_collectors one_trace_of_two_pods
}

one_trace_of_two_pods() {
  local trace
  begin_as_job 1 --otlp-endpoint http://127.0.0.1:4318
  kill_program_of calico-upgrader
  ends 0
  trace=$(sed -n 's/.*Trace  *\([0-9a-f]\{32\}\) to http.*/\1/p' "$output" | sort -u)
  [[ $trace =~ ^[0-9a-f]{32}$ ]]
  # The span of the whole run is sent by the second pod alone. Its name is field 5.
  collected "$trace" "2a03$(hex run)" "$(hex back-up)" "$(hex replace-node)" "$(hex "$first")" "$(hex "$second")" "$(hex "$control_plane")"
}

case_job_traced_header() { # a printed Job takes a header for its traces from a Secret (FEATURES=otel): the collector gets it, nothing else tells it
  need_traces job-traced-header
  apply_rights run
  with_collectors header_of_a_secret
}

header_of_a_secret() {
  local token=token-$RANDOM$RANDOM patch
  kubectl -n calico-upgrader create secret generic traces --from-literal=headers="authorization=Bearer%20$token"
  patch='[{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "OTEL_EXPORTER_OTLP_HEADERS",
    "valueFrom": {"secretKeyRef": {"name": "traces", "key": "headers"}}}}]'
  print_manifests job "$E2E_IMAGE" -- --to v2.6 --allow-untested --stable-for 1s --otlp-endpoint http://127.0.0.1:4318 |
    awk -v RS='---\n' '/kind: Job/' | kubectl patch --local -f - --type json -p "$patch" -o yaml | kubectl apply -f -
  completes calico-upgrader 240
  collected "$(hex "authorization: Bearer $token")" "2a03$(hex run)"
  logs_of calico-upgrader >"$E2E_WORK/logs"
  grep -q "Trace " "$E2E_WORK/logs"
  ! grep -q "$token" "$E2E_WORK/logs" || { echo "the header is in the log"; return 1; }
}

#!/usr/bin/env bash
# Makes the cluster, runs the cases on it and removes it; run.sh prepares what this needs. Each case begins with a cluster that is
# laid out anew.
# shellcheck disable=SC2034  # What is set here is used in the files that it sources.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${E2E_WORK:?run.sh sets it}" "${E2E_IMAGE:?}" "${E2E_FEATURES?}" "${E2E_PROGRAM:?}" "${E2E_WORN_IN:?}" "${E2E_LOGS:?}" "${KIND_IMAGE:?}"
cluster=calico-upgrader-e2e
control_plane=$cluster-control-plane first=$cluster-worker second=$cluster-worker2
nodes=("$first" "$second" "$control_plane")
old=registry.corp.example:5000/calico/node:v2.5.1 new=registry.corp.example:5000/calico/node:v2.6.12
pod_check=registry.corp.example:5000/pod-check:1
export KUBECONFIG=$E2E_WORK/kubeconfig NO_COLOR=1

for part in words cluster cases/*; do
  # shellcheck disable=SC1090  # Each file is checked by itself.
  for file in "$here"/$part.sh; do source "$file"; done
done

say() { echo "e2e: $*"; }

failed=() skipped=()

run_case() {
  local name=$1 began=$SECONDS code=0 log=$E2E_LOGS/$1.log
  plan=$E2E_WORK/$name.plan output=$E2E_WORK/$name.output
  export CALICO_UPGRADER_STATE_DIR=$E2E_WORK/state-$name
  set +e
  (
    set -ex
    lay_out
    "case_${name//-/_}"
  ) >"$log" 2>&1 </dev/null 3>"$E2E_WORK/why"
  code=$?
  set -e
  if [[ $code == 0 ]]; then
    echo "PASS $name ($((SECONDS - began)) s)"
  elif [[ $code == 77 ]]; then
    skipped+=("$name")
    echo "SKIP $name ($(cat "$E2E_WORK/why"))"
  else
    failed+=("$name")
    echo "FAIL $name ($((SECONDS - began)) s): the end of $log:"
    tail -n 40 "$log" | sed 's/^/     /'
  fi
}

# step WORDS COMMAND...
step() {
  local words=$1 began=$SECONDS log=$E2E_WORK/step.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 40 "$log"; say "failed: $words"; exit 1; }
  say "$words ($((SECONDS - began)) s)"
}

mapfile -t cases < <("$here/run.sh" --list | cut -f1)
(($# == 0)) || cases=("$@")
trap 'remove_cluster >/dev/null 2>&1' EXIT
trap 'exit 143' INT TERM
"$E2E_WORN_IN" v2.5.1 policy-only small >"$E2E_WORK/worn-in.json"
step "a cluster of 3 nodes, $KIND_IMAGE" make_cluster
for name in "${cases[@]}"; do
  run_case "$name"
done
step "the cluster is removed" remove_cluster
if ((${#failed[@]})); then
  say "$((${#cases[@]} - ${#failed[@]})) of ${#cases[@]} cases passed; failed: ${failed[*]}"
  exit 1
fi
say "$((${#cases[@]} - ${#skipped[@]})) of ${#cases[@]} cases passed${skipped:+; skipped: ${skipped[*]}}"

#!/bin/sh
# Takes the worn-in cluster behind KUBECONFIG to Calico v2.6, as an operator would. `make demo` runs it inside the lab.
set -eu
cd "$(dirname "$0")/.."

# The newer of the two builds.
built=${CARGO_TARGET_DIR:-target}
program=
for one in "$built/release/calico-upgrader" "$built/debug/calico-upgrader"; do
  if [ -x "$one" ] && { [ -z "$program" ] || [ -n "$(find "$one" -newer "$program")" ]; }; then program=$one; fi
done
[ -n "$program" ] || { echo "demo: there is no calico-upgrader in $built: run make build" >&2; exit 1; }
[ -n "${KUBECONFIG:-}" ] || { echo "demo: KUBECONFIG is not set: run make demo" >&2; exit 1; }

CALICO_UPGRADER_STATE_DIR=target/demo/${KUBERNETES:-cluster}-$(date +%Y%m%dT%H%M%S)
export CALICO_UPGRADER_STATE_DIR

say() { printf '\n# %s\n' "$*"; }

show() {
  printf '$ calico-upgrader %s\n' "$*"
  "$program" "$@"
}

where_things_lie() {
  for run in "$CALICO_UPGRADER_STATE_DIR"/runs/*/; do
    [ -d "$run" ] || continue
    say "What is left of the run, also when the cluster is gone:"
    printf '%s\n' "backup   ${run}backup/" "journal  ${run}journal.jsonl" "plan     ${run}plan.json" "report   ${run}report.html"
  done
}

end() {
  code=$?
  [ "$code" -eq 0 ] && return
  where_things_lie
  say "The demo ended with exit code $code: see docs/exit-codes.md"
}
trap end EXIT

# Calico v2.4 had a kind of policy that the new one lacks: someone has to say what becomes of it.
set -- --to v2.6 --allow-untested
case ${RELEASE:-} in v2.4*) set -- "$@" --system-policies convert ;; esac

say "A real Kubernetes with simulated nodes and an old Calico, edited by hand over the years. First look:"
show discover

say "What would be done? This changes nothing:"
show plan "$@"

say "Do it. Nodes are replaced one by one; 1s instead of 90s between them, since no traffic flows here:"
show run "$@" --yes --stable-for 1s

say "Did it work? Everything is looked at again:"
show verify

where_things_lie

say "What to try next:"
cat <<END
make demo KUBERNETES=1.8                      the version that upstream tested the upgrade on
make demo RELEASE=v2.4.1 FLAVOUR=policy-only  another start
A cluster that stays until you press Ctrl-D; it prints its kubeconfig. Kill a run on it, then resume:
  cargo run --locked -q -p harness --bin lab -- --size full --nodes 12
END

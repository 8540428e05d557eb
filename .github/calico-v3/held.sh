#!/usr/bin/env bash
# held.sh RELEASE: every node runs the release, the edit by hand is there, and of the requests so far at most ten failed.
set -euo pipefail
node() { kubectl -n kube-system get "$1" -l k8s-app=calico-node -o jsonpath="$2"; }
images=$(node pods '{range .items[*]}{.spec.containers[0].image}{"\n"}{end}')
echo "$images"
if grep -v ":$1\$" <<<"$images"; then echo "not every node runs $1"; exit 1; fi
[[ $(node daemonset '{.items[0].spec.template.spec.containers[0].env[?(@.name=="FELIX_LOGSEVERITYSCREEN")].value}') == Warning ]] ||
  { echo "the edit by hand is gone"; exit 1; }
said=$(kubectl logs deployment/client)
answered=$(grep -c answered <<<"$said") failed=$(grep -c failed <<<"$said" || true)
echo "$answered requests were answered, $failed failed"
((answered > 0 && failed <= 10)) || exit 1

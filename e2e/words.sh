# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# The words in which the cases are written.

upgrader() {
  echo "\$ calico-upgrader $*"
  "$E2E_PROGRAM" "$@"
}

# skip WHY: ends a case that cannot be run here; nobody shall take that for PASS.
skip() {
  echo "$*" >&3
  exit 77
}

# ends_with CODE COMMAND...
ends_with() {
  local wanted=$1 code=0
  shift
  "$@" || code=$?
  [[ $code == "$wanted" ]] || { echo "exit code $code instead of $wanted: $*"; return 1; }
}

# within SECONDS COMMAND...: asks again until the command succeeds.
within() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < limit)) || { echo "not within the time: $*"; return 1; }
    sleep 0.3
  done
}

on_node() { docker exec "$@"; }

# A node must stay ready for a second, or for as long as `stable` says.
plan_it() { upgrader plan --to v2.6 --allow-untested --stable-for "${stable:-1s}" --out "$plan" "$@"; }

# Begins to upgrade, and comes back when COUNT nodes of three are done.
begin_upgrade() {
  "$E2E_PROGRAM" run "$plan" --yes >"$output" 2>&1 &
  runner=$!
  within 120 grep -q "($1 of 3 done)" "$output"
}

# Waits for the end of what begin_upgrade began.
ends() {
  local code=0
  wait "$runner" || code=$?
  cat "$output"
  [[ $code == "$1" ]] || { echo "exit code $code instead of $1"; return 1; }
}

image_on() {
  kubectl -n kube-system get pods -l k8s-app=calico-node --field-selector "spec.nodeName=$1" \
    -o jsonpath='{range .items[*]}{.spec.containers[?(@.name=="calico-node")].image}{" "}{.status.conditions[?(@.type=="Ready")].status}{end}'
}

# runs IMAGE NODE...: exactly one pod, and that one ready.
runs() {
  local image=$1 node found
  shift
  for node; do
    found=$(image_on "$node")
    [[ $found == "$image True" ]] || { echo "$node runs \`$found\` instead of $image"; return 1; }
  done
}

# What install-cni of the running release left on the node.
installed_on() { on_node "$1" head -n 1 /etc/cni/net.d/calico.stand-in; }

is_installed() { # RELEASE NODE...
  local release=$1 node
  shift
  for node; do [[ $(installed_on "$node") == "$release" ]] || { echo "install-cni $release did not run on $node"; return 1; }; done
}

no_cordon_is_left() {
  local found
  found=$(kubectl get nodes -o jsonpath='{.items[?(@.spec.unschedulable)].metadata.name}')
  [[ -z $found ]] || { echo "cordoned: $found"; return 1; }
}

# New pods on each node get an address and answer their kubelet.
new_pods_start() {
  kubectl -n default rollout restart daemonset/pod-check
  kubectl -n default rollout status daemonset/pod-check --timeout=90s
}

is_upgraded() {
  runs "$new" "$@"
  is_installed v2.6.12 "$@"
  no_cordon_is_left
  new_pods_start
  ends_with 0 upgrader verify
}

# Everything that people and Calico wrote, without what each write of an API server changes.
contents() {
  kubectl get ippools,globalfelixconfigs,globalbgpconfigs -o json | jq -S '[.items[] | {kind, name: .metadata.name, spec}]'
  kubectl get clusterrole calico-node -o json | jq -S .rules
  kubectl get networkpolicies -A -o json | jq -S '[.items[] | {namespace: .metadata.namespace, name: .metadata.name, spec}]'
  kubectl -n kube-system get configmap/calico-config daemonset/calico-node -o json |
    jq -S '[.items[] | {data, template: .spec.template, strategy: .spec.updateStrategy}]'
}

#!/usr/bin/env bash
# Makes the cluster, runs the cases on it and removes it; run.sh prepares what this needs. Each case begins with a cluster that is
# laid out anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${E2E_WORK:?run.sh sets it}" "${E2E_IMAGE:?}" "${E2E_PROGRAM:?}" "${E2E_WORN_IN:?}" "${E2E_LOGS:?}" "${KIND_IMAGE:?}"
cluster=calico-upgrader-e2e
control_plane=$cluster-control-plane first=$cluster-worker second=$cluster-worker2
old=registry.corp.example:5000/calico/node:v2.5.1 new=registry.corp.example:5000/calico/node:v2.6.12
pod_check=registry.corp.example:5000/pod-check:1
export KUBECONFIG=$E2E_WORK/kubeconfig NO_COLOR=1

say() { echo "e2e: $*"; }

# ---- words of the cases

upgrader() {
  echo "\$ calico-upgrader $*"
  "$E2E_PROGRAM" "$@"
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

plan_it() { upgrader plan --to v2.6 --allow-untested --stable-for 1s --out "$plan" "$@"; }

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

# ---- cases

case_upgrade() { # v2.5.1 becomes v2.6.12 on every node, and new pods start
  plan_it
  ends_with 0 upgrader run "$plan" --yes
  is_upgraded "$first" "$second" "$control_plane"
}

case_killed_midway() { # kill -9 when one node of three is done; resume goes on
  plan_it
  begin_upgrade 1
  kill -KILL "$runner"
  ends 137
  runs "$old" "$control_plane"
  ends_with 0 upgrader resume --yes
  is_upgraded "$first" "$second" "$control_plane"
}

case_image_missing() { # one node cannot pull: the run stops before any node is touched; loaded there, it goes on
  on_node "$second" ctr -n k8s.io images rm "$new"
  plan_it --pull-within 20s
  ends_with 4 upgrader run "$plan" --yes >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "$second" "$output"
  runs "$old" "$first" "$second" "$control_plane"
  load_images --nodes "$second"
  ends_with 0 upgrader resume --yes
  is_upgraded "$first" "$second" "$control_plane"
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
  is_upgraded "$first" "$second" "$control_plane"
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
  is_upgraded "$first" "$second" "$control_plane"
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
  is_upgraded "$first" "$second" "$control_plane"
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
  runs "$old" "$first" "$second" "$control_plane"
  is_installed v2.5.1 "$first" "$second" "$control_plane"
  no_cordon_is_left
  new_pods_start
  contents | diff "$E2E_WORK/before" -
}

# The Job that `install` prints for this cluster, with the address of the API server that no Service stands for.
apply_job() {
  local address
  address=$(kubectl get node "$control_plane" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
  "$E2E_PROGRAM" install rbac --mode run | kubectl apply -f -
  "$E2E_PROGRAM" install manifests --mode job --image "$E2E_IMAGE" --api-server "$address:6443" -- \
    --to v2.6 --allow-untested --stable-for 1s | kubectl apply -f -
}

job_logs() { kubectl -n calico-upgrader logs --prefix --tail=-1 -l job-name=calico-upgrader; }

job_says() { [[ $(job_logs) == *"$1"* ]]; }

job_is_over() {
  [[ $(kubectl -n calico-upgrader get job calico-upgrader -o jsonpath='{.status.conditions[?(@.status=="True")].type}') == *Complete* ]]
}

# The node on which the pod of the Job runs.
job_node() {
  kubectl -n calico-upgrader get pods -l job-name=calico-upgrader --field-selector status.phase=Running \
    -o jsonpath='{.items[0].spec.nodeName}'
}

case_job_killed_midway() { # the same as a Job: its program is killed when one node is done, the next pod goes on; then verified and taken back from here
  local node
  contents >"$E2E_WORK/before"
  apply_job
  within 120 job_says "(1 of 3 done)"
  node=$(job_node)
  on_node "$node" kill -KILL "$(on_node "$node" pgrep -x calico-upgrader)"
  within 180 job_is_over || { job_logs; kubectl -n calico-upgrader describe pods; return 1; }
  job_logs
  kubectl -n calico-upgrader get pods -o wide
  [[ $(kubectl -n calico-upgrader get job calico-upgrader -o jsonpath='{.status.failed}') == 1 ]]
  is_upgraded "$first" "$second" "$control_plane"
  ends_with 0 upgrader rollback --yes
  runs "$old" "$first" "$second" "$control_plane"
  no_cordon_is_left
  contents | diff "$E2E_WORK/before" -
}

case_job_drained() { # the pod of the Job is deleted midway, as a drain does: it ends with 143 on record, and the next one goes on
  apply_job
  within 120 job_says "(1 of 3 done)"
  kubectl -n calico-upgrader delete pod -l job-name=calico-upgrader --wait=false
  within 180 job_is_over || { job_logs; kubectl -n calico-upgrader describe pods; return 1; }
  job_logs
  job_says "stopped with exit 143"
  job_says "goes on"
  is_upgraded "$first" "$second" "$control_plane"
}

# ---- the cluster

load_images() { for archive in old new upgrader; do kind load image-archive "$E2E_WORK/$archive.tar" --name "$cluster" "$@"; done; }

make_cluster() {
  if [[ -n ${E2E_NODE_IMAGE:-} ]] && ! docker image inspect "$KIND_IMAGE" >/dev/null 2>&1; then
    zstd --quiet -dc "$E2E_NODE_IMAGE" | docker load
  fi
  kind delete cluster --name "$cluster"
  kind create cluster --name "$cluster" --image "$KIND_IMAGE" --wait 180s --config - <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
END
  kubectl wait --for=condition=Ready nodes --all --timeout=120s
  load_images
  kubectl -n kube-system rollout status deployment/coredns --timeout=120s
}

remove_cluster() { kind delete cluster --name "$cluster"; }

pod_check() {
  cat <<END
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: pod-check, namespace: default}
spec:
  selector: {matchLabels: {app: pod-check}}
  template:
    metadata: {labels: {app: pod-check}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
        - name: pod-check
          image: $pod_check
          readinessProbe: {httpGet: {path: /readiness, port: 9099}, periodSeconds: 1}
END
}

# The worn-in cluster, or the part of it that a filter of jq keeps.
worn_in() { jq ".items |= map($1)" "$E2E_WORK/worn-in.json"; }

# As if nothing had ever happened: what earlier cases left goes, and the worn-in Calico v2.5.1 comes.
lay_out() {
  local node
  kubectl delete namespace calico-upgrader --ignore-not-found
  worn_in 'select(.apiVersion | startswith("crd.") | not)' | kubectl delete -f - --ignore-not-found --timeout=120s
  kubectl -n kube-system delete daemonset calico-upgrader-pull --ignore-not-found
  kubectl wait --for=delete pod -n kube-system -l k8s-app=calico-node --timeout=60s
  for node in "$first" "$second" "$control_plane"; do
    on_node "$node" rm -f /var/run/calico/stand-in-not-ready /etc/cni/net.d/calico.stand-in
    # A kubelet makes its node when it starts, and never again.
    kubectl get node "$node" || on_node "$node" systemctl stop kubelet
    on_node "$node" systemctl start kubelet
  done
  within 90 kubectl get nodes "$first" "$second" "$control_plane"
  kubectl wait --for=condition=Ready nodes --all --timeout=90s
  kubectl uncordon "$first" "$second" "$control_plane"
  worn_in 'select(.kind == "CustomResourceDefinition")' | kubectl create -f -
  kubectl wait --for=condition=Established crd --all --timeout=60s
  worn_in 'select(.kind != "CustomResourceDefinition")' | kubectl create -f -
  pod_check | kubectl apply -f -
  kubectl -n kube-system rollout status daemonset/calico-node --timeout=120s
  kubectl -n default rollout status daemonset/pod-check --timeout=120s
  runs "$old" "$first" "$second" "$control_plane"
}

# ---- the run

failed=()

run_case() {
  local name=$1 began=$SECONDS code=0 log=$E2E_LOGS/$1.log
  plan=$E2E_WORK/$name.plan output=$E2E_WORK/$name.output
  export CALICO_UPGRADER_STATE_DIR=$E2E_WORK/state-$name
  set +e
  (
    set -ex
    lay_out
    "case_${name//-/_}"
  ) >"$log" 2>&1 </dev/null
  code=$?
  set -e
  if [[ $code == 0 ]]; then
    echo "PASS $name ($((SECONDS - began)) s)"
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
say "all ${#cases[@]} cases passed"

# shellcheck shell=bash disable=SC2119,SC2120,SC2154  # Sourced by cases.sh, which sets what is used here.
# The cluster: made, laid out before each case, removed.

load_images() { for archive in old new v3.29.7 v3.31.7 upgrader; do kind load image-archive "$E2E_WORK/$archive.tar" --name "$cluster" "$@"; done; }

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
  for node in "${nodes[@]}"; do
    make_writable "$node"
    on_node "$node" rm -f /var/run/calico/stand-in-not-ready /etc/cni/net.d/calico.stand-in
    # A kubelet makes its node when it starts, and never again.
    kubectl get node "$node" || on_node "$node" systemctl stop kubelet
    on_node "$node" systemctl start kubelet
  done
  within 90 kubectl get nodes "${nodes[@]}"
  kubectl wait --for=condition=Ready nodes --all --timeout=90s
  kubectl uncordon "${nodes[@]}"
  kubectl taint nodes --all repair- || echo "no case left its taint"
  worn_in 'select(.kind == "CustomResourceDefinition")' | kubectl create -f -
  kubectl wait --for=condition=Established crd --all --timeout=60s
  worn_in 'select(.kind != "CustomResourceDefinition")' | kubectl create -f -
  pod_check | kubectl apply -f -
  kubectl -n kube-system rollout status daemonset/calico-node --timeout=120s
  kubectl -n default rollout status daemonset/pod-check --timeout=120s
  runs "$old" "${nodes[@]}"
}

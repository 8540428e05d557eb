# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# Calico v3, whose manifests the operator gives.

v3_before=$here/../tests/fixtures/calico-v3.29.7.yaml v3_after=$here/../tests/fixtures/calico-v3.31.7.yaml

lay_out_v3() {
  worn_in 'select(.apiVersion | startswith("crd.") | not)' | kubectl delete -f - --ignore-not-found --timeout=120s
  kubectl wait --for=delete pod -n kube-system -l k8s-app=calico-node --timeout=60s
  kubectl create -f "$v3_before"
  kubectl -n kube-system rollout status daemonset/calico-node deployment/calico-kube-controllers deployment/calico-typha --timeout=120s
}

controllers_run() {
  local found
  found=$(kubectl -n kube-system get pods -l k8s-app=calico-kube-controllers -o jsonpath='{.items[*].spec.containers[0].image}')
  [[ $found == "$1" ]] || { echo "controllers: \`$found\` instead of $1"; return 1; }
}

case_calico_v3() { # v3.29.7 becomes v3.31.7 by given manifests, is killed when one node is done, goes on, and is taken back
  lay_out_v3
  upgrader plan --manifests "$v3_after" --manifests-before "$v3_before" --stable-for 1s --out "$plan"
  begin_upgrade 1
  kill -KILL "$runner"
  ends 137
  ends_with 0 upgrader resume --yes
  runs quay.io/calico/node:v3.31.7 "$first" "$second" "$control_plane"
  is_installed v3.31.7 "$first" "$second" "$control_plane"
  controllers_run quay.io/calico/kube-controllers:v3.31.7
  no_cordon_is_left
  new_pods_start
  ends_with 0 upgrader verify
  ends_with 0 upgrader rollback --yes
  runs docker.io/calico/node:v3.29.7 "$first" "$second" "$control_plane"
  is_installed v3.29.7 "$first" "$second" "$control_plane"
  controllers_run docker.io/calico/kube-controllers:v3.29.7
  kubectl delete -f "$v3_after" --timeout=120s
}

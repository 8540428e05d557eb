# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# Calico v3, whose manifests the operator gives.

v3_before=$here/../tests/fixtures/calico-v3.29.7.yaml v3_after=$here/../tests/fixtures/calico-v3.31.7.yaml

lay_out_v3() {
  worn_in 'select(.apiVersion | startswith("crd.") | not)' | kubectl delete -f - --ignore-not-found --timeout=120s
  kubectl wait --for=delete pod -n kube-system -l k8s-app=calico-node --timeout=60s
  kubectl create -f "$v3_before"
  kubectl -n kube-system rollout status daemonset/calico-node deployment/calico-kube-controllers deployment/calico-typha --timeout=120s
}

plan_v3() { upgrader plan --manifests "$v3_after" --manifests-before "$v3_before" --stable-for 1s --out "$plan"; }

# is_v3 REGISTRY RELEASE: all nodes, and the controllers, run it.
is_v3() {
  local found
  runs "$1/calico/node:$2" "${nodes[@]}"
  is_installed "$2" "${nodes[@]}"
  found=$(kubectl -n kube-system get pods -l k8s-app=calico-kube-controllers -o jsonpath='{.items[*].spec.containers[0].image}')
  [[ $found == "$1/calico/kube-controllers:$2" ]] || { echo "controllers: \`$found\` instead of $2"; return 1; }
  no_cordon_is_left
}

# The upgrade holds and is taken back from here; then nothing of v3 is left for other cases.
is_v3_and_goes_back() {
  is_v3 quay.io v3.31.7
  new_pods_start
  ends_with 0 upgrader verify
  ends_with 0 upgrader rollback --yes
  is_v3 docker.io v3.29.7
  kubectl delete -f "$v3_after" --timeout=120s
}

case_calico_v3() { # v3.29.7 becomes v3.31.7 by given manifests, is killed when one node is done, goes on, and is taken back
  lay_out_v3
  plan_v3
  begin_upgrade 1
  kill -KILL "$runner"
  ends 137
  ends_with 0 upgrader resume --yes
  is_v3_and_goes_back
}

case_calico_v3_as_job() { # the same by a sealed plan as a Job with the printed rights, whose program is killed; taken back from here
  lay_out_v3
  plan_v3
  apply_rights run --manifests "$v3_after" --manifests-before "$v3_before"
  begin_as_job 1
  kill_program_of calico-upgrader
  ends 0
  is_v3_and_goes_back
}

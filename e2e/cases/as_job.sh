# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# Jobs that the program starts itself, and the way back as a Job.

# as_job FLAG...: starts or follows the Job of a run.
as_job() { upgrader run --yes --as-job --image "$E2E_IMAGE" --api-server "$(api_server)" "$@"; }

# begin_as_job COUNT FLAG...: follows the Job of the plan, and comes back when COUNT nodes of three are done.
begin_as_job() {
  local count=$1
  shift
  "$E2E_PROGRAM" run "$plan" --yes --as-job --image "$E2E_IMAGE" --api-server "$(api_server)" "$@" >"$output" 2>&1 &
  runner=$!
  within 120 grep -q "($count of 3 done)" "$output"
}

# The program in the pod of Job NAME, on whichever node.
kill_program_of() {
  local node
  node=$(kubectl -n calico-upgrader get pods -l "job-name=$1" --field-selector status.phase=Running -o jsonpath='{.items[0].spec.nodeName}')
  on_node "$node" pkill -KILL -x calico-upgrader
}

case_as_job() { # a sealed plan runs as a Job that is followed by its log; the follower is killed, then the program: another follower sees it end with 0
  plan_it
  apply_rights run
  begin_as_job 1
  kill -KILL "$runner"
  ends 137
  kill_program_of calico-upgrader
  as_job "$plan" >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q "ended with 137" "$output"
  grep -q "goes on (epoch" "$output"
  grep -q "(3 of 3 done)" "$output"
  ! grep -q "skipped" "$output"
  is_upgraded "${nodes[@]}"
  # Nothing is left of the plan that went along.
  [[ -z $(kubectl -n calico-upgrader get secrets -l "calico-upgrader/run=$(jq -r .digest "$plan" | cut -c1-12)" -o name) ]]
}

case_as_job_exits() { # an image that no node can pull, then a cluster that changed since the plan: each ends with its exit code, and nothing was changed
  apply_rights run
  plan_it
  contents >"$E2E_WORK/before"
  ends_with 4 upgrader run "$plan" --yes --as-job --image registry.corp.example:5000/none:1 --start-within 15s >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q CU-E073 "$output"
  grep -qi "imagepull" "$output"
  ! kubectl -n calico-upgrader get job calico-upgrader
  contents | diff "$E2E_WORK/before" -
  kubectl -n kube-system patch configmap calico-config --type merge -p '{"data":{"surprise":"yes"}}'
  ends_with 13 as_job "$plan" >"$output" 2>&1 || { cat "$output"; return 1; }
  cat "$output"
  grep -q CU-E011 "$output"
  runs "$old" "${nodes[@]}"
}

# What is laid out becomes a Calico v2.2.1, whose data and policies have a way to go. No node runs another program for that.
lay_out_v2_2() {
  local node images
  "$E2E_WORN_IN" v2.2.1 policy-only small >"$E2E_WORK/worn-in-v2.2.json"
  kubectl delete -f "$E2E_WORK/worn-in.json" --ignore-not-found --timeout=120s
  kubectl wait --for=delete pod -n kube-system -l k8s-app=calico-node --timeout=60s
  images=$(jq -r '.items[] | select(.kind == "DaemonSet") | .spec.template.spec.containers[].image' "$E2E_WORK/worn-in-v2.2.json" | sort -u)
  for node in "${nodes[@]}"; do
    for image in $images; do on_node "$node" ctr -n k8s.io images tag --force "$old" "$image"; done
  done
  jq '.items |= map(select(.kind == "CustomResourceDefinition"))' "$E2E_WORK/worn-in-v2.2.json" | kubectl create -f -
  kubectl wait --for=condition=Established crd --all --timeout=60s
  jq '.items |= map(select(.kind != "CustomResourceDefinition"))' "$E2E_WORK/worn-in-v2.2.json" | kubectl create -f -
  # Its pods are replaced by hand, of which no rollout tells.
  within 120 runs registry.corp.example:5000/calico/node:v1.2.1 "${nodes[@]}"
}

case_job_steps() { # from v2.2.1: conversion and copy each run as a Job; the program of one is killed, the runner is, and resume goes on with Jobs
  lay_out_v2_2
  trap 'kubectl delete -f "$E2E_WORK/worn-in-v2.2.json" --ignore-not-found --timeout=120s' EXIT
  apply_rights run
  plan_it --system-policies convert
  "$E2E_PROGRAM" run "$plan" --yes --job-steps --image "$E2E_IMAGE" --api-server "$(api_server)" >"$output" 2>&1 &
  runner=$!
  within 120 kubectl -n calico-upgrader get job calico-upgrader-convert-policies
  within 60 grep -q "takes step copy-resources" "$output"
  kill_program_of calico-upgrader-copy-resources || echo "its program does not run now"
  kill -KILL "$runner"
  ends 137
  upgrader status
  ends_with 0 upgrader resume --yes --job-steps --image "$E2E_IMAGE" --api-server "$(api_server)"
  runs "$new" "${nodes[@]}"
  no_cordon_is_left
  ends_with 0 upgrader verify
  [[ -z $(kubectl -n calico-upgrader get jobs -o name) ]]
}

case_rollback_job() { # a finished upgrade is taken back as a Job, whose program is killed on the way: the next pod goes on, every object is as it was
  contents >"$E2E_WORK/before"
  plan_it
  ends_with 0 upgrader run "$plan" --yes
  apply_rights rollback
  apply_manifests rollback "$E2E_IMAGE"
  within 120 says_in calico-upgrader-rollback "(1 of 3 done)"
  kill_program_of calico-upgrader-rollback
  completes calico-upgrader-rollback 180
  logs_of calico-upgrader-rollback
  says_in calico-upgrader-rollback "goes on"
  runs "$old" "${nodes[@]}"
  is_installed v2.5.1 "${nodes[@]}"
  no_cordon_is_left
  new_pods_start
  contents | diff "$E2E_WORK/before" -
}

# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# The program as the Job that `install` prints.

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

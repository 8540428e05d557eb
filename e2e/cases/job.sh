# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# The program as the Job that `install` prints.

api_server() {
  echo "$(kubectl get node "$control_plane" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'):6443"
}

# apply_rights MODE [FLAG...]
apply_rights() { "$E2E_PROGRAM" install rbac --mode "$@" | kubectl apply -f -; }

# print_manifests MODE IMAGE FLAG...: what `install` prints for this cluster, with an address of the API server for which no Service stands.
print_manifests() {
  local mode=$1 image=$2
  shift 2
  "$E2E_PROGRAM" install manifests --mode "$mode" --image "$image" --api-server "$(api_server)" "$@"
}

apply_manifests() { print_manifests "$@" | kubectl apply -f -; }

# apply_job [IMAGE] [-- FLAG...]
apply_job() {
  local image=$E2E_IMAGE
  (($# == 0)) || [[ $1 == -- ]] || { image=$1; shift; }
  (($# == 0)) || shift
  apply_rights run
  apply_manifests job "$image" -- --to v2.6 --allow-untested --stable-for 1s "$@"
}

# What the pods of Job NAME said so far.
logs_of() { kubectl -n calico-upgrader logs --prefix --tail=-1 -l "job-name=$1"; }

# says_in NAME TEXT: its pods said so.
says_in() { [[ $(logs_of "$1") == *"$2"* ]]; }

# is_complete NAME: the Job ended well.
is_complete() {
  [[ $(kubectl -n calico-upgrader get job "$1" -o jsonpath='{.status.conditions[?(@.status=="True")].type}') == *Complete* ]]
}

# completes NAME SECONDS: it does within that time, or what it said and its pods are shown.
completes() {
  within "$2" is_complete "$1" || { logs_of "$1"; kubectl -n calico-upgrader describe pods; return 1; }
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
  within 120 says_in calico-upgrader "(1 of 3 done)"
  node=$(job_node)
  on_node "$node" kill -KILL "$(on_node "$node" pgrep -x calico-upgrader)"
  completes calico-upgrader 180
  logs_of calico-upgrader
  kubectl -n calico-upgrader get pods -o wide
  [[ $(kubectl -n calico-upgrader get job calico-upgrader -o jsonpath='{.status.failed}') == 1 ]]
  is_upgraded "${nodes[@]}"
  ends_with 0 upgrader rollback --yes
  runs "$old" "${nodes[@]}"
  no_cordon_is_left
  contents | diff "$E2E_WORK/before" -
}

case_job_drained() { # the pod of the Job is deleted midway, as a drain does: it ends with 143 on record, and the next one goes on
  apply_job
  within 120 says_in calico-upgrader "(1 of 3 done)"
  kubectl -n calico-upgrader delete pod -l job-name=calico-upgrader --wait=false
  completes calico-upgrader 180
  logs_of calico-upgrader
  says_in calico-upgrader "stopped with exit 143"
  says_in calico-upgrader "goes on"
  is_upgraded "${nodes[@]}"
}

# What the containers of the Job wait for.
job_waits_for() {
  kubectl -n calico-upgrader get pods -l job-name=calico-upgrader -o jsonpath='{.items[*].status.containerStatuses[*].state.waiting.reason}'
}

image_is_missed() { [[ $(job_waits_for) == *ImagePull* ]]; }

case_image_not_pullable() { # the image of the Job cannot be pulled: the pod says so and nothing is changed; once it is there, the same pod does it
  local absent=registry.corp.example:5000/calico-upgrader:absent node
  contents >"$E2E_WORK/before"
  apply_job "$absent"
  within 60 image_is_missed
  kubectl -n calico-upgrader get pods
  kubectl -n calico-upgrader get events --field-selector type=Warning
  upgrader status
  contents | diff "$E2E_WORK/before" -
  for node in "${nodes[@]}"; do on_node "$node" ctr -n k8s.io images tag "docker.io/library/$E2E_IMAGE" "$absent"; done
  completes calico-upgrader 240
  logs_of calico-upgrader
  is_upgraded "${nodes[@]}"
}

# NODE POD of the one pod of the Job whose program runs now; nothing while there is none.
running_pod() {
  local node pod
  read -r node pod < <(kubectl -n calico-upgrader get pods -l job-name=calico-upgrader --field-selector status.phase=Running \
    -o jsonpath='{range .items[*]}{.spec.nodeName} {.metadata.name}{"\n"}{end}') || return 1
  on_node "$node" pgrep -x calico-upgrader >/dev/null && echo "$node $pod"
}

# Comes back with NODE POD of the next pod of the Job after POD, or with nothing if the Job is over without one.
next_pod() {
  local found limit=$((SECONDS + 90))
  while ((SECONDS < limit)); do
    found=$(running_pod || true)
    [[ -z $found || ${found#* } == "$1" ]] || { echo "$found"; return; }
    ! is_complete calico-upgrader || return 0
    sleep 0.2
  done
  echo "no pod followed $1" >&2
  return 1
}

# Takes the Job away, finished or not, and puts it in anew, as people do who do not want to wait for its next try.
put_job_in_anew() {
  kubectl -n calico-upgrader delete job calico-upgrader --ignore-not-found
  apply_job -- --lease-duration 3s
}

# The Job has upgraded every node: held against the plan, and taken back from outside. No Job repeats what was taken back, so its records go.
upgraded_and_back() {
  is_upgraded "${nodes[@]}"
  ends_with 0 upgrader rollback --yes
  runs "$old" "${nodes[@]}"
  no_cordon_is_left
  contents | diff "$E2E_WORK/before" -
  # The run and its rollback: a run that was killed is gone on with, and no second one is begun for it.
  [[ $(kubectl -n calico-upgrader get secrets -l calico-upgrader/part=record -o name | wc -l) == 2 ]]
  kubectl -n calico-upgrader delete secrets -l calico-upgrader/run
}

case_job_killed_often() { # killed at 20 random moments over several upgrades that are taken back: the next pod goes on each time, the end is right
  local node pod=none killed=0 upgrades=0 found
  RANDOM=${E2E_SEED:=$RANDOM}
  echo "the moments again: E2E_SEED=$E2E_SEED"
  contents >"$E2E_WORK/before"
  put_job_in_anew
  while ((killed < 20)); do
    found=$(next_pod "$pod")
    # From the start of the program to about the end of its work.
    sleep "$((RANDOM % 11)).$((RANDOM % 10))"
    read -r node pod <<<"$found"
    if [[ -n $found ]] && on_node "$node" pkill -KILL -x calico-upgrader; then
      killed=$((killed + 1))
      # The Job doubles its waiting time with each failure.
      ((killed % 2)) || put_job_in_anew
    else
      within 60 is_complete calico-upgrader
      upgrades=$((upgrades + 1))
      upgraded_and_back
      put_job_in_anew
    fi
  done
  completes calico-upgrader 240
  upgraded_and_back
  echo "killed $killed times in $((upgrades + 1)) upgrades"
}

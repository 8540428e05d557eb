# shellcheck shell=bash disable=SC2154  # Sourced by cases.sh, which sets what is used here.
# The program as the CronJob that `install` prints.

# window FROM MINUTES: a window as people write it, from a moment in seconds since 1970.
window() { echo "Mon-Sun $(date -u -d "@$1" +%H:%M)-$(date -u -d "@$(($1 + 60 * $2))" +%H:%M) UTC"; }

# What all pods of the schedule said so far, the oldest first, as a person would have seen it.
screen() {
  local pod
  for pod in $(kubectl -n calico-upgrader get pods -l app.kubernetes.io/name=calico-upgrader --sort-by=.metadata.creationTimestamp -o name); do
    kubectl -n calico-upgrader get "$pod" -o jsonpath='{.status.startTime}{"  "}{.spec.containers[0].args}{"\n"}'
    kubectl -n calico-upgrader logs "$pod" --tail=-1
    kubectl -n calico-upgrader get "$pod" -o jsonpath='[exit {.status.containerStatuses[0].state.terminated.exitCode}]{"\n"}'
  done
}

screen_says() { [[ $(screen) == *"$1"* ]]; }

nodes_done() {
  kubectl -n kube-system get pods -l k8s-app=calico-node \
    -o jsonpath='{range .items[*]}{.spec.containers[?(@.name=="calico-node")].image}{"\n"}{end}' | grep -c "^$new\$"
}

no_pod_failed() { [[ -z $(kubectl -n calico-upgrader get pods --field-selector status.phase=Failed -o name) ]]; }

case_schedule_window() { # a CronJob each minute, and two windows: one node in the first, two in the second, nothing outside and nothing after
  local opens=$((($(date +%s) + 15) / 60 * 60 + 60))
  apply_rights run
  apply_manifests cronjob "$E2E_IMAGE" --schedule "* * * * *" --window "$(window "$opens" 2);$(window $((opens + 180)) 4)" -- \
    --to v2.6 --allow-untested --ready-within 20s --stable-for 60s
  within 200 screen_says "stopped: a node may take" || { screen; return 1; }
  screen >"$E2E_WORK/first"
  [[ $(nodes_done) == 1 ]]
  no_cordon_is_left
  within 100 screen_says "inside its windows only"
  kubectl -n calico-upgrader get events --field-selector reason=RunOutsideWindow | grep "no window is open"
  [[ $(nodes_done) == 1 ]]
  within 360 screen_says "finished" || { screen; return 1; }
  within 100 screen_says "Nothing to do"
  no_pod_failed
  cat "$E2E_WORK/first"
  echo "---- all that is kept"
  screen
  is_upgraded "${nodes[@]}"
}

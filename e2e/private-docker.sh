#!/usr/bin/env bash
# Runs a command beside a docker daemon of its own, in namespaces of its own: nothing of the machine's network, mounts or /run is
# changed, and when the command ends, or this script is killed, every process below ends with it.
# Usage: private-docker.sh FOLDER COMMAND [ARGUMENT]...        FOLDER keeps the daemon's images from one call to the next.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cgroup=calico-upgrader-e2e

daemon_answers() { docker version >/dev/null 2>&1; }

# Control groups can go as soon as the last of their processes is gone.
remove_cgroups() {
  local _
  for _ in {1..50}; do
    find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
    [[ -n $(find /sys/fs/cgroup -type d -name "$cgroup" 2>/dev/null) ]] || return 0
    sleep 0.2
  done
}

start_daemon() {
  cat >/run/docker.json <<END
{"data-root": "$folder", "cgroup-parent": "/$cgroup", "storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=cgroupfs"],
 "runtimes": {"as-far-as-allowed": {"path": "$here/runc-as-far-as-allowed"}}, "default-runtime": "as-far-as-allowed", "ip6tables": false}
END
  dockerd --config-file /run/docker.json --pidfile /run/dockerd.pid >"$folder/dockerd.log" 2>&1 &
  daemon=$!
  for _ in {1..150}; do
    ! daemon_answers || return 0
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.2
  done
  echo "private docker: the daemon did not start:" >&2
  tail -n 20 "$folder/dockerd.log" >&2
  return 1
}

inside() {
  ip link set lo up
  mount -t tmpfs tmpfs /run
  mount --make-rshared /
  sysctl -qw net.ipv4.ip_forward=1
  unset DOCKER_HOST DOCKER_CONTEXT
  start_daemon
  local code=0
  "$@" || code=$?
  kill "$daemon"
  wait "$daemon" || true
  exit "$code"
}

[[ $EUID == 0 ]] || { echo "private docker: needs root" >&2; exit 1; }
folder=$1
shift
mkdir -p "$folder"
# The first process of a namespace of processes: bash is told so, since nothing else tells.
[[ ${PRIVATE_DOCKER:-} != inside ]] || inside "$@"

exec 9>"$folder.lock"
flock --nonblock 9 || { echo "private docker: another call uses $folder" >&2; exit 1; }
PRIVATE_DOCKER=inside unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
  "${BASH_SOURCE[0]}" "$folder" "$@" 9>&- &
child=$!
trap 'kill -KILL "$child" 2>/dev/null; wait "$child" 2>/dev/null; remove_cgroups; exit 143' INT TERM
code=0
wait "$child" || code=$?
remove_cgroups
exit "$code"

#!/bin/sh
# Runs the servers of one control plane and ends them with its parent, however the parent ends.
#
# It makes a folder and answers "folder PATH". Then it reads commands, and answers each with one line:
#   start NAME COUNT     then COUNT lines: the program and its arguments   started NAME PID
#   stop NAME                                                              stopped NAME
#   signal NAME SIGNAL                                                     signalled NAME
#   state NAME                                                             NAME running, NAME stopped, or: NAME ended
# At the end of its input (the parent closed the pipe, or died) it kills the servers and removes the folder.
set -u
umask 077
servers=
# The servers live short and there is memory enough: a fifth of their time would go into collecting garbage.
export GOGC=400

# A pid may have been given to another process since; only our own children may be killed.
is_ours() {
  parent='' status=''
  { read -r _ _ status parent _ <"/proc/$1/stat"; } 2>/dev/null
  [ "$parent" = $$ ]
}

end() {
  if is_ours "$1"; then kill -s KILL "$1"; wait "$1"; fi 2>/dev/null
}

finish() {
  trap '' HUP INT TERM
  for pid in $servers; do if is_ours "$pid"; then kill -s KILL "$pid" 2>/dev/null; fi; done
  for pid in $servers; do wait "$pid" 2>/dev/null; done
  # A server that was killed may still be finishing its last write.
  for _ in 1 2 3 4 5; do rm -rf -- "$folder" 2>/dev/null && break; sleep 1; done
}

pid_of() { eval "pid=\${pid_$1:-}"; [ -n "$pid" ]; }

start() {
  name=$1 count=$2
  set --
  while [ "$count" -gt 0 ]; do
    IFS= read -r argument || exit
    set -- "$@" "$argument"
    count=$((count - 1))
  done
  "$@" </dev/null >>"$folder/$name.log" 2>&1 &
  eval "pid_$name=$!"
  servers="$servers $!"
  echo "started $name $!"
}

stop() {
  if pid_of "$1"; then end "$pid"; eval "pid_$1="; fi
  echo "stopped $1"
}

# A child that ended stays known until it is waited for.
state() {
  if ! pid_of "$1"; then echo "$1 stopped"
  elif is_ours "$pid" && [ "$status" != Z ]; then echo "$1 running"
  else echo "$1 ended"; fi
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/harness.XXXXXX") || exit
trap finish EXIT
trap exit HUP INT TERM
# A parent that died no longer reads our answers; that must not end us before the servers are ended.
trap '' PIPE
# Temporary files of the servers go where they are removed with the rest.
TMPDIR=$folder
export TMPDIR
echo "folder $folder"

while read -r command name argument; do
  case $command in
    start) start "$name" "$argument" ;;
    stop) stop "$name" ;;
    signal) if pid_of "$name" && is_ours "$pid"; then kill -s "$argument" "$pid"; fi; echo "signalled $name" ;;
    state) state "$name" ;;
    *) exit 64 ;;
  esac
done

#!/usr/bin/env bash
# Runs the program against a cluster of kind with real kubelets and containers, and says PASS or FAIL for each case.
# Usage: run.sh [CASE]...       default: all; `run.sh --list` names them. The log of each is <target folder>/e2e/<case>.log
#
# Where a docker daemon answers, stock kind is used: KIND_IMAGE chooses the image of its nodes.
# Where none answers, as root: a daemon in namespaces of its own, and a node image built from packages alone (node-image/build.sh).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
cargo=${CARGO:-cargo}
target=$(uname -m)-unknown-linux-musl
built=${CARGO_TARGET_DIR:-target}
cache=${CALICO_UPGRADER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calico-upgrader}/e2e

say() { echo "e2e: $*"; }

list_cases() { sed -n 's/^case_\([a-z0-9_]*\)() { # \(.*\)/\1\t\2/p' "$here"/cases/*.sh | tr _ -; }

case ${1:-} in
  --list) list_cases; exit ;;
  -h | --help) sed -n '2,/^set /s/^# //p' "${BASH_SOURCE[0]}"; exit ;;
esac
for name; do
  list_cases | cut -f1 | grep -qx -- "$name" || { say "no case is named \`$name\`: run.sh --list" >&2; exit 64; }
done

# needs PACKAGE=PROGRAM...
needs() {
  local one missing=()
  for one; do command -v "${one#*=}" >/dev/null || missing+=("${one%=*}"); done
  ((${#missing[@]} == 0)) || { say "missing: ${missing[*]}" >&2; exit 1; }
}

build_programs() {
  rustup target list --installed | grep -qx "$target" || rustup target add "$target"
  "$cargo" build --locked --quiet
  "$cargo" build --locked --quiet -p harness --bin worn-in
  "$cargo" build --locked --quiet --release -p stand-in --target "$target"
}

# pack_images OUT RELEASE NAME:TAG...: one program under the names by which the images of Calico are started. From v3 on calico/cni has
# no `sleep`.
pack_images() {
  local out=$1 release=$2 folder name names=()
  shift 2
  for name; do names+=(--name "$name"); done
  folder=$work/image-$release
  install -D -m 755 "$built/$target/release/stand-in" "$folder/bin/calico-node"
  if [[ $release == v3.* ]]; then
    install -d "$folder/opt/cni/bin"
    ln -s /bin/calico-node "$folder/opt/cni/bin/install"
  else
    ln -s calico-node "$folder/bin/sleep"
    ln -s bin/calico-node "$folder/install-cni.sh"
  fi
  image/pack.sh "${names[@]}" --entrypoint /bin/calico-node --user 0 --env PATH=/bin --env "STAND_IN_RELEASE=$release" "$folder" "$out" >/dev/null
}

# Asked first, since the rest takes minutes.
if docker version >/dev/null 2>&1; then
  is_stock=yes
  needs kind=kind kubectl=kubectl jq=jq musl-tools=musl-gcc
else
  is_stock=no
  needs docker.io=dockerd containerd=containerd runc=runc iptables=iptables iproute2=ip mmdebstrap=mmdebstrap zstd=zstd jq=jq golang=go musl-tools=musl-gcc
fi

started=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export E2E_WORK=$work
build_programs
mkdir -p "$built/e2e"
E2E_LOGS=$(realpath "$built/e2e")
E2E_PROGRAM=$(realpath "$built/debug/calico-upgrader")
E2E_WORN_IN=$(realpath "$built/debug/worn-in")
export E2E_PROGRAM E2E_WORN_IN E2E_LOGS
# The registry that the worn-in cluster pulls from.
registry=registry.corp.example:5000/calico
# The image that users run, under a name that no other build has; with FEATURES=otel it has traces.
export E2E_IMAGE=calico-upgrader:e2e E2E_FEATURES=${FEATURES:-}
case $(uname -m) in x86_64) arch=amd64 ;; *) arch=arm64 ;; esac
IMAGE=$E2E_IMAGE image/build.sh "$arch" >/dev/null
ln -s "$(realpath "$built/image/calico-upgrader-$arch.tar")" "$work/upgrader.tar"
pack_images "$work/old.tar" v2.5.1 "$registry/node:v2.5.1" "$registry/cni:v1.10.0" registry.corp.example:5000/pod-check:1
pack_images "$work/new.tar" v2.6.12 "$registry/node:v2.6.12" "$registry/cni:v1.11.8"
# One image of Calico v3 serves for all four names.
for release in v3.29.7=docker.io v3.31.7=quay.io; do
  images=("${release#*=}"/calico/{node,cni,kube-controllers,typha}:"${release%=*}")
  pack_images "$work/${release%=*}.tar" "${release%=*}" "${images[@]}"
done

if [[ $is_stock == yes ]]; then
  say "stock kind, ${KIND_IMAGE:=kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d} (prepared in $((SECONDS - started)) s)"
  beside=()
else
  tools=$("$here/node-image/build.sh")
  KIND_IMAGE=calico-upgrader/node:v1.34.4
  PATH=$tools:$PATH
  export E2E_NODE_IMAGE=$tools/node.tar.zst PATH
  # kind mounts it into each node, and not every machine has it.
  [[ -d /lib/modules ]] || mkdir /lib/modules
  say "a docker daemon of our own, and the node image in $tools (prepared in $((SECONDS - started)) s)"
  beside=("$here/private-docker.sh" "$cache/docker-${tools##*/}")
fi
export KIND_IMAGE

# A signal has to reach the one who holds the cluster, and not wait until that has ended.
"${beside[@]}" "$here/cases.sh" "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' INT TERM
code=0
wait "$child" || code=$?
wait "$child" 2>/dev/null || true
say "$((SECONDS - started)) s in all"
exit "$code"

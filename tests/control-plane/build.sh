#!/bin/sh
# Builds the servers that tests and the demo talk to, each once, into a cache outside the tree:
#   <cache>/<name>-<version>-<digest of its folder here>/   (it appears only when its build is whole)
# Usage: build.sh [etcd] [v1.34] [v1.8] [etcdctl]        prints "<name> <folder>" for each; default: all but etcdctl, the
# client that only the benchmarks ask for.
# CALICO_UPGRADER_CACHE chooses the cache. KUBEBUILDER_ASSETS (kube-apiserver and etcd of today) replaces etcd and v1.34.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${CALICO_UPGRADER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calico-upgrader}/control-plane
export CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false -trimpath"

say() { echo "control plane: $*" >&2; }

recipe_digest() { (cd "$here" && find "$1" -type f 2>/dev/null | LC_ALL=C sort | xargs -r cat | sha256sum | cut -c1-12); }

build_etcd() { cd "$1/src" && go build -ldflags "-s -w" -o "$1/etcd" go.etcd.io/etcd/server/v3; }

build_etcdctl() { cd "$1/src" && go build -ldflags "-s -w" -o "$1/etcdctl" go.etcd.io/etcd/etcdctl/v3; }

build_v1_34() {
  x=
  for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    x="$x -X $p.gitMajor=1 -X $p.gitMinor=34 -X $p.gitVersion=v1.34.4 -X $p.gitTreeState=clean"
  done
  cd "$1/src" && go build -ldflags "-s -w $x" -o "$1/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kube-scheduler
}

# The sources of 1.8 predate Go modules: they are laid out anew with a go.mod each, ours over the parts that need cloud SDKs.
build_v1_8() {
  cd "$1/src"
  sh ./prepare.sh
  x=
  for p in k8s.io/kubernetes/pkg/version k8s.io/client-go/pkg/version; do
    x="$x -X $p.gitMajor=1 -X $p.gitMinor=8 -X $p.gitVersion=v1.8.15 -X $p.gitCommit=none -X $p.gitTreeState=clean"
  done
  go build -ldflags "-s -w $x" -o "$1/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/plugin/cmd/kube-scheduler
}

# build NAME VERSION MINUTES FUNCTION
build() {
  folder="$cache/$1-$2-$(recipe_digest "$1")"
  if [ ! -d "$folder" ]; then
    command -v go >/dev/null || { say "Go is needed to build $1 $2: install it from go.dev or your distribution"; exit 1; }
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/.building-$1.XXXXXX")
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    say "building $1 $2, once, about $3 minutes on two cores, into $folder"
    started=$(date +%s)
    mkdir "$work/src"
    [ ! -d "$here/$1" ] || cp -r "$here/$1/." "$work/src/"
    ("$4" "$work") >&2
    chmod -R u+w "$work/src" && rm -rf "$work/src"
    mv "$work" "$folder" 2>/dev/null || [ -d "$folder" ]
    trap - EXIT
    say "built $1 $2 in $(($(date +%s) - started)) s"
  fi
  echo "$1 $folder"
}

[ $# -gt 0 ] || set -- etcd v1.34 v1.8
for part; do
  case $part in
    etcd | v1.34) if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then echo "$part $KUBEBUILDER_ASSETS"; continue; fi ;;
  esac
  case $part in
    etcd) build etcd 3.5.33 1 build_etcd ;;
    etcdctl) build etcdctl 3.5.33 1 build_etcdctl ;;
    v1.34) build v1.34 1.34.4 7 build_v1_34 ;;
    v1.8) build v1.8 1.8.15 6 build_v1_8 ;;
    *) say "no part named \`$part\`: etcd, v1.34, v1.8, etcdctl"; exit 64 ;;
  esac
done

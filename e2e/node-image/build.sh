#!/usr/bin/env bash
# Builds what `make e2e` needs where no image registry is to be had, once, from Debian packages and Go modules alone:
#   <cache>/kind-<version of Kubernetes>-<digest of this folder>/{kind,kubectl,node.tar.zst}
# and prints that folder. node.tar.zst is an image like kindest/node, made of kind's own files. Needs root, mmdebstrap, zstd and Go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CALICO_UPGRADER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/calico-upgrader}/e2e
# From 1.35 on the kubelet refuses machines with cgroup v1.
kubernetes=v1.34.4
path=PATH=/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin
export CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false -trimpath"

say() { echo "node image: $*" >&2; }

digest=$(cd "$here/.." && cat ../image/pack.sh <(find node-image -type f | LC_ALL=C sort | xargs cat) | sha256sum | cut -c1-12)
folder=$cache/kind-$kubernetes-$digest
if [[ -d $folder ]]; then
  echo "$folder"
  exit
fi

missing=()
for one in mmdebstrap zstd go jq; do command -v "$one" >/dev/null || missing+=("$one"); done
((${#missing[@]} == 0)) || { say "missing: ${missing[*]}"; exit 1; }
[[ $EUID == 0 ]] || { say "only root can lay out the file system of a node"; exit 1; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/.building.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root images=$work/images programs=$work/programs
mkdir -p "$images" "$programs"

compile() { # MODULE LINKER-FLAGS PACKAGE...
  local module=$1 flags=$2
  shift 2
  (cd "$here/go/$module" && go build -ldflags "-s -w $flags" -o "$programs/" "$@")
}

compile_all() {
  local part stamp=
  for part in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp+=" -X $part.gitMajor=1 -X $part.gitMinor=34 -X $part.gitVersion=$kubernetes -X $part.gitTreeState=clean"
  done
  compile kind "" sigs.k8s.io/kind
  compile pause "" .
  compile coredns "" .
  compile etcd "" go.etcd.io/etcd/server/v3
  mv "$programs/v3" "$programs/etcd" 2>/dev/null || mv "$programs/server" "$programs/etcd"
  compile kubernetes "$stamp" k8s.io/kubernetes/cmd/{kubelet,kubeadm,kubectl,kube-proxy}
  # The tests keep the other three already.
  cp "$(env -u KUBEBUILDER_ASSETS "$here/../../tests/control-plane/build.sh" v1.34 | cut -d' ' -f2)"/kube-* "$programs/"
}

# image_name PART: the whole name by which kubeadm asks for an image, as `pause` or `kube-proxy`.
image_name() {
  "$programs/kubeadm" config images list --kubernetes-version "$kubernetes" 2>/dev/null |
    awk -v part="$1" '{ name = $0; sub(/.*\//, "", name); sub(/:.*/, "", name) } name == part { print; found = 1 } END { exit !found }' ||
    { say "kubeadm names no image $1"; exit 1; }
}

# debian FOLDER VARIANT PACKAGE,...
debian() {
  local mirror
  # shellcheck disable=SC2016  # The variable is one of apt-get's.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -n 1p)
  unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant="$2" --include="$3" --format=directory \
    --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$1" "${mirror:-http://deb.debian.org/debian}"
}

# What kind's own image does to Debian: images/base/Dockerfile of the same version.
install_files_of_kind() {
  local files part file pause
  pause=$(image_name pause)
  files=$(cd "$here/go/kind" && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)/images/base/files
  for part in etc etc/containerd etc/default etc/sysctl.d etc/systemd/system etc/systemd/system/kubelet.service.d kind; do
    for file in "$files/$part"/*; do [[ ! -f $file ]] || install -D -m 644 "$file" "$root/$part/${file##*/}"; done
  done
  install -D -m 755 -t "$root/kind/bin" "$files"/kind/bin/*.sh
  install -m 755 -t "$root/usr/local/bin" "$files/usr/local/bin/entrypoint"
  echo "$kubernetes" >"$root/kind/version"
  # Units of kind name the paths of its own builds.
  ln -s /usr/bin/containerd /usr/bin/ctr /usr/bin/containerd-shim-runc-v2 "$root/usr/local/bin/"
  ln -s /usr/sbin/runc "$root/usr/local/sbin/runc"
  # Machines without CAP_SYS_RESOURCE cannot lower the score of a process.
  sed -i "s/restrict_oom_score_adj = false/restrict_oom_score_adj = true/; s#^\( *sandbox_image = \).*#\1\"$pause\"#" "$root/etc/containerd/config.toml"
}

install_files_of_ours() {
  mkdir -p "$root/opt/cni/bin" "$root/etc/cni/net.d" "$root/etc/kubernetes/manifests"
  cp -a "$root/usr/lib/cni/." "$root/opt/cni/bin/"
  install -m 755 -t "$root/usr/local/bin" "$here"/files/{pod-network,crictl}
  install -m 644 -t "$root/etc/systemd/system" "$here/files/pod-network.service"
  install -D -m 644 -t "$root/kind/manifests" "$here"/files/default-{cni,storage}.yaml
  install -m 755 -t "$root/usr/bin" "$programs"/{kubelet,kubeadm,kubectl}
}

set_up_units() {
  local wants
  rm -f "$root"/lib/systemd/system/{multi-user,local-fs,basic}.target.wants/* \
    "$root"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
    "$root"/lib/systemd/system/sockets.target.wants/*{udev,initctl}*
  for wants in "$root"/etc/systemd/system/*.wants; do rm -rf "$wants"; done
  echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$root/sbin/init"
  chroot "$root" systemctl --quiet enable kubelet.service containerd.service undo-mount-hacks.service pod-network.service
  chroot "$root" systemctl --quiet mask systemd-binfmt.service systemd-udevd.service systemd-networkd.service systemd-resolved.service
  # Limits of the machine that builds are not those of the machine that runs.
  chroot "$root" ctr oci spec | jq '.hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
    >"$root/etc/containerd/cri-base.json"
}

# pack PROGRAM FOLDER FLAG...: an image that is started as the program, or by its name if no flag says more.
pack() {
  local program=$1 folder=$2 name
  name=$(image_name "$program")
  shift 2
  install -D -m 755 "$programs/$program" "$folder/usr/local/bin/$program"
  install -d -m 1777 "$folder/tmp"
  "$here/../../image/pack.sh" --plain --name "$name" "$@" "$folder" "$images/$program.tar" >&2
}

pack_all() {
  local one
  for one in etcd kube-apiserver kube-controller-manager kube-scheduler; do pack "$one" "$work/$one" --env "$path"; done
  for one in pause coredns; do pack "$one" "$work/$one" --entrypoint "/usr/local/bin/$one"; done
  debian "$work/kube-proxy" extract iptables,nftables,conntrack,kmod
  for one in {iptables,ip6tables}{,-save,-restore}; do ln -sf xtables-nft-multi "$work/kube-proxy/usr/sbin/$one"; done
  pack kube-proxy "$work/kube-proxy" --env "$path"
}

# Puts the images where the containerd of the node keeps its own; a pod that starts unpacks its image.
preload() {
  printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$root/tmp/preload.toml"
  # shellcheck disable=SC2016  # The variables are those of the inner shell.
  unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    mount -t proc proc "$0/proc"
    mount -t tmpfs tmpfs "$0/run"
    chroot "$0" containerd --log-level error --config /tmp/preload.toml &
    until chroot "$0" ctr version >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
    for image in "$1"/*.tar; do chroot "$0" ctr -n k8s.io images import --no-unpack --all-platforms - <"$image" >/dev/null; done
    kill $!
    wait $! || true
  ' "$root" "$images"
  rm "$root/tmp/preload.toml"
}

started=$SECONDS
say "building Kubernetes $kubernetes and a node image, once: about 3 minutes on two cores, 12 more if nothing was compiled yet"
compile_all
say "compiled after $((SECONDS - started)) s"
debian "$root" minbase "systemd,systemd-sysv,dbus,containerd,runc,containernetworking-plugins,conntrack,iptables,nftables,iproute2,ethtool,\
util-linux,mount,kmod,libseccomp2,e2fsprogs,bash,ca-certificates,curl,jq,procps,socat,iputils-ping"
install_files_of_kind
install_files_of_ours
set_up_units
pack_all
preload
say "laid out after $((SECONDS - started)) s"
mkdir "$work/done"
"$here/../../image/pack.sh" --plain --name "calico-upgrader/node:$kubernetes" --entrypoint /usr/local/bin/entrypoint --cmd /sbin/init \
  --env container=docker --stop-signal SIGRTMIN+3 "$root" "$work/node.tar" >&2
zstd --quiet -3 -T0 "$work/node.tar" -o "$work/done/node.tar.zst"
cp "$programs/kind" "$programs/kubectl" "$work/done/"
mv "$work/done" "$folder"
say "built in $((SECONDS - started)) s: $folder"
echo "$folder"

#!/usr/bin/env bash
# Packs a folder as an image of one layer, without any daemon:
#   image/pack.sh --name NAME:TAG… [--entrypoint PATH] [--cmd WORD]… [--arch amd64|arm64] [--user UID] [--env NAME=VALUE]… [--label NAME=VALUE]…
#                 [--stop-signal SIGNAL] [--plain] FOLDER OUT.tar
# --user UID owns every file and is whom the program runs as; without it each file keeps its owner, and root runs the program.
# --plain does not compress the layer, for archives that are compressed as a whole. --arch: this machine's without it.
# The archive is an OCI layout with Docker's manifest.json beside it, so that `docker load`, `kind load image-archive`, `ctr images import`,
# `skopeo` and `podman load` all take it. The same folder makes the same bytes, dated by SOURCE_DATE_EPOCH (default: 0).
set -euo pipefail

arch='' user='' entrypoint='' names=() cmd='[]' env='[]' labels='{}' stop_signal='' plain=
die() { echo "pack.sh: $*" >&2; exit 64; }
need() { command -v "$1" >/dev/null || { echo "pack.sh: missing: $1 (apt-get install $1)" >&2; exit 1; }; }
need jq

while (($# > 2)); do
  case $1 in
    --plain) plain=yes; shift; continue ;;
    --name) names+=("$2") ;;
    --arch) arch=$2 ;;
    --user) user=$2 ;;
    --entrypoint) entrypoint=$2 ;;
    --cmd) cmd=$(jq -c --arg one "$2" '. + [$one]' <<<"$cmd") ;;
    --stop-signal) stop_signal=$2 ;;
    --env) env=$(jq -c --arg one "$2" '. + [$one]' <<<"$env") ;;
    --label) labels=$(jq -c --arg key "${2%%=*}" --arg value "${2#*=}" '.[$key] = $value' <<<"$labels") ;;
    *) die "unknown flag $1" ;;
  esac
  shift 2
done
(($# == 2 && ${#names[@]})) || die "usage: --name NAME:TAG… [flags] FOLDER OUT.tar"
folder=$1 out=$2
[[ -z $entrypoint || -x $folder$entrypoint ]] || die "$folder$entrypoint is not there, or cannot be run"
[[ -n $arch ]] || case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) die "say --arch: $(uname -m) is no name of an image's" ;; esac

# containerd and Docker compare whole names; a short one is theirs for docker.io/library.
full_name() {
  if [[ $1 != */* ]]; then echo "docker.io/library/$1"
  elif [[ ${1%%/*} == *[.:]* ]]; then echo "$1"
  else echo "docker.io/$1"; fi
}
full=()
for name in "${names[@]}"; do
  [[ ${name##*/} == *:* ]] || die "--name $name has no tag"
  full+=("$(full_name "$name")")
done

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.pack.XXXXXX")
trap 'rm -rf "$work"' EXIT
epoch=${SOURCE_DATE_EPOCH:-0}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
layout=$work/layout
mkdir -p "$layout/blobs/sha256"

sum() { sha256sum "$1" | cut -d' ' -f1; }
# blob FILE: takes a file into the layout, and answers its digest and size as the fields of a descriptor.
blob() {
  local digest size
  digest=$(sum "$1") size=$(stat -c %s "$1")
  mv "$1" "$layout/blobs/sha256/$digest"
  jq -cn --arg digest "sha256:$digest" --argjson size "$size" '{digest: $digest, size: $size}'
}
pack_tar() { tar --sort=name --format=ustar --mtime="@$epoch" --numeric-owner "$@"; }

owner=()
[[ -z $user ]] || owner=(--owner="$user" --group="$user")
pack_tar "${owner[@]}" --one-file-system -C "$folder" -cf "$work/layer.tar" .
diff_id=sha256:$(sum "$work/layer.tar")
layer_type=application/vnd.oci.image.layer.v1.tar
if [[ -n $plain ]]; then
  layer=$(blob "$work/layer.tar")
else
  gzip -n -9 "$work/layer.tar"
  layer=$(blob "$work/layer.tar.gz") layer_type+=+gzip
fi

# What was not said is left out.
jq -cn --arg created "$created" --arg arch "$arch" --arg user "${user:+$user:$user}" --arg entrypoint "$entrypoint" --arg diff "$diff_id" \
  --argjson cmd "$cmd" --argjson env "$env" --argjson labels "$labels" --arg stop "$stop_signal" '{created: $created, architecture: $arch, os: "linux",
    config: ({User: $user, Entrypoint: [$entrypoint | select(. != "")], Cmd: $cmd, Env: $env, Labels: $labels, WorkingDir: "/", StopSignal: $stop}
      | map_values(select(length > 0))),
    rootfs: {type: "layers", diff_ids: [$diff]}, history: [{created: $created, created_by: "image/pack.sh"}]}' >"$work/config.json"
config=$(blob "$work/config.json")

jq -cn --argjson config "$config" --argjson layer "$layer" --arg type "$layer_type" --argjson labels "$labels" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: ({mediaType: "application/vnd.oci.image.config.v1+json"} + $config),
    layers: [{mediaType: $type} + $layer], annotations: $labels}' >"$work/manifest.json"
manifest=$(blob "$work/manifest.json")

echo -n '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
jq -cn --argjson manifest "$manifest" --arg arch "$arch" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [$ARGS.positional[] | {mediaType: "application/vnd.oci.image.manifest.v1+json"} + $manifest
      + {platform: {architecture: $arch, os: "linux"},
         annotations: {"io.containerd.image.name": ., "org.opencontainers.image.ref.name": (split(":") | last)}}]}' \
  --args "${full[@]}" >"$layout/index.json"
path() { jq -r '"blobs/" + (.digest | sub(":"; "/"))' <<<"$1"; }
jq -cn --arg config "$(path "$config")" --arg layer "$(path "$layer")" \
  '[{Config: $config, RepoTags: $ARGS.positional, Layers: [$layer]}]' --args "${names[@]}" >"$layout/manifest.json"

(cd "$layout" && pack_tar --owner=0 --group=0 -cf - oci-layout index.json manifest.json blobs) >"$out.new"
mv "$out.new" "$out"
echo "$out  ${names[*]}  linux/$arch  $(jq -r .digest <<<"$manifest")"

#!/usr/bin/env bash
# Packs a folder as an image of one layer, without any daemon:
#   image/pack.sh --name NAME:TAG --entrypoint PATH [--arch amd64|arm64] [--user UID] [--env NAME=VALUE]… [--label NAME=VALUE]… FOLDER OUT.tar
# The archive is an OCI layout with Docker's manifest.json beside it, so that `docker load`, `kind load image-archive`, `ctr images import`,
# `skopeo` and `podman load` all take it. The same folder makes the same bytes, dated by SOURCE_DATE_EPOCH (default: 0).
set -euo pipefail

arch=amd64 user=65532 name='' entrypoint='' env='[]' labels='{}'
die() { echo "pack.sh: $*" >&2; exit 64; }
need() { command -v "$1" >/dev/null || { echo "pack.sh: missing: $1 (apt-get install $1)" >&2; exit 1; }; }
need jq

while (($# > 2)); do
  case $1 in
    --name) name=$2 ;;
    --arch) arch=$2 ;;
    --user) user=$2 ;;
    --entrypoint) entrypoint=$2 ;;
    --env) env=$(jq -c --arg one "$2" '. + [$one]' <<<"$env") ;;
    --label) labels=$(jq -c --arg key "${2%%=*}" --arg value "${2#*=}" '.[$key] = $value' <<<"$labels") ;;
    *) die "unknown flag $1" ;;
  esac
  shift 2
done
[[ $# == 2 && -n $name && -n $entrypoint ]] || die "usage: --name NAME:TAG --entrypoint PATH [flags] FOLDER OUT.tar"
[[ $name == *:* ]] || die "--name $name has no tag"
folder=$1 out=$2
[[ -x $folder$entrypoint ]] || die "$folder$entrypoint is not there, or cannot be run"

# containerd and Docker compare whole names; a short one is theirs for docker.io/library.
full=$name
[[ ${name%%/*} == *[.:]* && $name == */* ]] || { [[ $name == */* ]] && full=docker.io/$name || full=docker.io/library/$name; }

work=$(mktemp -d)
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

pack_tar --owner="$user" --group="$user" -C "$folder" -cf "$work/layer.tar" .
diff_id=sha256:$(sum "$work/layer.tar")
gzip -n -9 "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz")

jq -cn --arg created "$created" --arg arch "$arch" --arg user "$user:$user" --arg entrypoint "$entrypoint" --arg diff "$diff_id" \
  --argjson env "$env" --argjson labels "$labels" '{created: $created, architecture: $arch, os: "linux",
    config: {User: $user, Entrypoint: [$entrypoint], Env: $env, Labels: $labels, WorkingDir: "/"},
    rootfs: {type: "layers", diff_ids: [$diff]}, history: [{created: $created, created_by: "image/pack.sh"}]}' >"$work/config.json"
config=$(blob "$work/config.json")

jq -cn --argjson config "$config" --argjson layer "$layer" --argjson labels "$labels" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: ({mediaType: "application/vnd.oci.image.config.v1+json"} + $config),
    layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip"} + $layer], annotations: $labels}' >"$work/manifest.json"
manifest=$(blob "$work/manifest.json")

echo -n '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
jq -cn --argjson manifest "$manifest" --arg arch "$arch" --arg full "$full" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json"} + $manifest + {platform: {architecture: $arch, os: "linux"},
      annotations: {"io.containerd.image.name": $full, "org.opencontainers.image.ref.name": ($full | split(":") | last)}}]}' >"$layout/index.json"
path() { jq -r '"blobs/" + (.digest | sub(":"; "/"))' <<<"$1"; }
jq -cn --arg config "$(path "$config")" --arg layer "$(path "$layer")" --arg name "$name" \
  '[{Config: $config, RepoTags: [$name], Layers: [$layer]}]' >"$layout/manifest.json"

mkdir -p "$(dirname "$out")"
(cd "$layout" && pack_tar --owner=0 --group=0 -cf - oci-layout index.json manifest.json blobs) >"$out.new"
mv "$out.new" "$out"
echo "$out  $name  linux/$arch  $(jq -r .digest <<<"$manifest")"

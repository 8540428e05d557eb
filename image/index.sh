#!/usr/bin/env bash
# Joins images of pack.sh that differ in their architecture into one image for all of them, without any daemon or registry:
#   image/index.sh OUT.tar ARCHIVE.tar ARCHIVE.tar…
# The archive is an OCI layout whose one image is an index. `skopeo copy --all oci-archive:OUT.tar docker://…` publishes all of it,
# `ctr images import` and `podman load` take what fits their machine. The same archives make the same bytes.
set -euo pipefail

die() { echo "index.sh: $2" >&2; exit "$1"; }
command -v jq >/dev/null || die 1 "missing: jq (apt-get install jq)"
(($# >= 3)) || die 64 "usage: image/index.sh OUT.tar ARCHIVE.tar ARCHIVE.tar…"
out=$1
shift
mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.index.XXXXXX")
trap 'rm -rf "$work"' EXIT
layout=$work/layout
mkdir "$layout"

# Blobs are named by what is in them, so those of several archives lie beside each other.
for archive; do
  [[ -s $archive ]] || die 1 "$archive is missing"
  tar -C "$layout" -xf "$archive" index.json blobs
  cat "$layout/index.json" >>"$work/indexes"
done
images=$(jq -cs '[.[].manifests[] | del(.annotations)] | unique_by(.digest) | sort_by(.platform.architecture)' "$work/indexes")
names=$(jq -cs '[.[].manifests[].annotations] | unique' "$work/indexes")
[[ $(jq '[.[].platform] | unique | length' <<<"$images") == "$#" ]] || die 65 "each archive must be of another architecture"
[[ $(jq length <<<"$names") == 1 ]] || die 65 "the archives have several names: $(jq -r 'map(.["io.containerd.image.name"]) | join(", ")' <<<"$names")"

type=application/vnd.oci.image.index.v1+json
jq -cn --arg type "$type" --argjson images "$images" '{schemaVersion: 2, mediaType: $type, manifests: $images}' >"$work/image"
digest=$(sha256sum "$work/image" | cut -d' ' -f1) size=$(stat -c %s "$work/image")
mv "$work/image" "$layout/blobs/sha256/$digest"
jq -cn --arg type "$type" --arg digest "sha256:$digest" --argjson size "$size" --argjson names "$names" \
  '{schemaVersion: 2, mediaType: $type, manifests: [{mediaType: $type, digest: $digest, size: $size, annotations: $names[0]}]}' >"$layout/index.json"
echo -n '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

tar --sort=name --format=ustar --mtime="@${SOURCE_DATE_EPOCH:-0}" --numeric-owner --owner=0 --group=0 -C "$layout" -cf "$work/out.tar" oci-layout index.json blobs
mv "$work/out.tar" "$out"
echo "$out  $(jq -r '.[0]["io.containerd.image.name"]' <<<"$names")  $(jq -r 'map("\(.platform.os)/\(.platform.architecture)") | join(" ")' <<<"$images")  sha256:$digest"

#!/usr/bin/env bash
# Packs a folder as a container image that `docker load`, `kind load image-archive` and `ctr images import` take. No daemon is needed.
# Usage: image-archive.sh OUT FOLDER CONFIGURATION NAME:TAG...      CONFIGURATION as in `docker inspect`: {"Entrypoint": ["/program"]}
set -euo pipefail
out=$1 folder=$2 configuration=$3
shift 3
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) uname -m >&2; exit 1 ;; esac
work=$(mktemp -d "$(dirname "$out")/.image.XXXXXX")
trap 'rm -rf "$work"' EXIT

digest() { sha256sum "$1" | cut -d' ' -f1; }

tar --numeric-owner --sort=name --one-file-system -C "$folder" -cf "$work/layer.tar" .
printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"calico-upgrader e2e"}]}' \
  "$architecture" "$configuration" "$(digest "$work/layer.tar")" >"$work/configuration.json"
mv "$work/configuration.json" "$work/$(digest "$work/configuration.json").json"
names=$(printf '"%s",' "$@")
printf '[{"Config":"%s","RepoTags":[%s],"Layers":["layer.tar"]}]' "$(cd "$work" && echo *.json)" "${names%,}" >"$work/manifest"
mv "$work/manifest" "$work/manifest.json"
(cd "$work" && tar -cf - -- *.json layer.tar) >"$out"

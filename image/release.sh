#!/usr/bin/env bash
# Lays out the files of a release from what build.sh left below target/image/: image/release.sh TAG OWNER/REPOSITORY [ARCH…]
# Leaves below target/release-files/: for each architecture the program as .tar.gz, the image and the SBOM; where there are several, one image
# for all of them; the manifest for krew, SHA256SUMS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "release.sh: $2" >&2; exit "$1"; }
(($# >= 2)) || die 64 "usage: image/release.sh TAG OWNER/REPOSITORY [ARCH…]"
tag=$1 repository=$2
shift 2
(($#)) || set -- amd64 arm64
[[ $repository =~ ^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$ ]] || die 64 "$repository is not OWNER/REPOSITORY"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
[[ $tag == "v$version" ]] || die 65 "the tag is $tag, and Cargo.toml says $version"

built=$(realpath -m "${CARGO_TARGET_DIR:-target}/image")
out=${CARGO_TARGET_DIR:-target}/release-files
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
rm -rf "$out"
mkdir -p "$out"
[[ -s $built/share/man/man1/calico-upgrader.1 ]] || die 1 "$built/share has no man pages: build.sh writes them where the program runs"

for arch; do
  for file in "$arch/calico-upgrader" "calico-upgrader-$arch.tar" "calico-upgrader-$arch.cdx.json"; do
    [[ -s $built/$file ]] || die 1 "$built/$file is missing"
  done
  tar --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -cf - \
    -C "$built/$arch" LICENSE calico-upgrader -C "$built/share" completions man |
    gzip -n -9 >"$out/calico-upgrader-linux-$arch.tar.gz"
  cp "$built/calico-upgrader-$arch.tar" "$out/calico-upgrader-image-$arch.tar"
  cp "$built/calico-upgrader-$arch.cdx.json" "$out/"
done

if (($# > 1)); then
  SOURCE_DATE_EPOCH=$epoch image/index.sh "$out/calico-upgrader-image.tar" "$out"/calico-upgrader-image-*.tar
fi

# .krew.yaml is a template as krew-release-bot reads it: {{ .TagName }}, and a line {{addURIAndSha "ADDRESS" .TagName }}. No more is taken.
while IFS= read -r line; do
  line=${line//'{{ .TagName }}'/$tag}
  line=${line//OWNER\/REPOSITORY/$repository}
  if [[ $line =~ ^(\ *)\{\{addURIAndSha\ \"([^\"]+)\"\ \.TagName\ \}\}$ ]]; then
    indent=${BASH_REMATCH[1]} address=${BASH_REMATCH[2]}
    [[ -f $out/${address##*/} ]] || die 1 "$out/${address##*/} is missing, and .krew.yaml names it"
    printf '%suri: %s\n%ssha256: %s\n' "$indent" "$address" "$indent" "$(sha256sum "$out/${address##*/}" | cut -d' ' -f1)"
  else
    printf '%s\n' "$line"
  fi
done <.krew.yaml >"$out/calico-upgrader.yaml"
! grep -n '{{\|OWNER' "$out/calico-upgrader.yaml" >&2 || die 1 ".krew.yaml has marks that nothing replaces"

(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)

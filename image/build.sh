#!/usr/bin/env bash
# Builds the image of the program, without any daemon: image/build.sh [amd64|arm64|all]. FEATURES=otel adds traces.
# Leaves below target/image/: calico-upgrader-ARCH.tar (see pack.sh), ARCH/ (what is in it), calico-upgrader.cdx.json (what it is made of) and
# share/ (man pages and completions).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arch=${1:-amd64}
cargo=${CARGO:-cargo}
target_folder=${CARGO_TARGET_DIR:-target}
out=$target_folder/image

if [[ $arch == all ]]; then
  for one in amd64 arm64; do image/build.sh "$one"; done
  exec image/index.sh "$out/calico-upgrader.tar" "$out"/calico-upgrader-{amd64,arm64}.tar
fi

missing() { echo "image: missing: $1 (apt-get install $2)" >&2; exit 1; }
case $arch in
  amd64)
    target=x86_64-unknown-linux-musl
    command -v musl-gcc >/dev/null || missing "a C compiler for musl" musl-tools
    ;;
  arm64)
    target=aarch64-unknown-linux-musl
    command -v aarch64-linux-gnu-gcc >/dev/null || missing "a C compiler for arm64" "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    # Headers of glibc, objects for musl: what glibc alone has must not be called.
    export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc
    export CFLAGS_aarch64_unknown_linux_musl="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc
    ;;
  *) echo "image: no such architecture: $arch (amd64, arm64, all)" >&2; exit 64 ;;
esac
rustup target list --installed | grep -qx "$target" || rustup target add "$target"

"$cargo" build --release --locked --target "$target" ${FEATURES:+--features "$FEATURES"}
program=$target_folder/$target/release/calico-upgrader
if readelf -d "$program" | grep -q NEEDED; then
  echo "image: $program is not static" >&2
  exit 1
fi

# For a release. They are the same for each architecture, and one that was crossed over does not run here.
if "$program" version >/dev/null 2>&1; then
  rm -rf "$out/share"
  mkdir -p "$out/share/completions"
  "$program" man --out "$out/share/man/man1"
  for shell in bash zsh fish; do "$program" completion "$shell" >"$out/share/completions/calico-upgrader.$shell"; done
fi

root=$out/$arch
rm -rf "$root"
install -D -m 755 "$program" "$root/calico-upgrader"
# Where runs are kept if nobody mounts a volume there.
install -d -m 700 "$root/state"
install -D -m 644 LICENSE "$root/LICENSE"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
image/pack.sh --name "${IMAGE:-calico-upgrader:$version}" --arch "$arch" --entrypoint /calico-upgrader --user 65532 \
  --env CALICO_UPGRADER_STATE_DIR=/state \
  --label org.opencontainers.image.title=calico-upgrader \
  --label "org.opencontainers.image.description=$(sed -n 's/^description = "\(.*\)"/\1/p' Cargo.toml | head -1)" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
  --label org.opencontainers.image.licenses=Apache-2.0 \
  "$root" "$out/calico-upgrader-$arch.tar"

if command -v cargo-cyclonedx >/dev/null; then
  cargo cyclonedx --quiet --format json --target "$target" --spec-version 1.5 --override-filename calico-upgrader.cdx \
    ${FEATURES:+--features "$FEATURES"}
  # Where it was built is nobody's business.
  sed "s|path+file://$PWD#|workspace#|g" calico-upgrader.cdx.json >"$out/calico-upgrader.cdx.json"
  rm calico-upgrader.cdx.json
  # Every member of the workspace gets one, and the parts of tests are in no image.
  find tests e2e -name calico-upgrader.cdx.json -delete
  echo "$out/calico-upgrader.cdx.json  CycloneDX, $(jq '.components | length' "$out/calico-upgrader.cdx.json") components"
else
  echo "SBOM: skipped (cargo-cyclonedx is not installed: cargo install --locked cargo-cyclonedx)"
fi

# The ways in. `make` alone lists them.

KUBERNETES ?= 1.34
RELEASE ?= v2.2.1
FLAVOUR ?= networking
NODES ?= 12
ARCH ?= amd64
PART ?= 1/1
# A case waits for its servers most of the time.
RUST_TEST_THREADS ?= $(shell expr $$(nproc) \* 2 + 1)
export KUBERNETES RELEASE RUST_TEST_THREADS

LAB = cargo run --locked -q -p harness --bin lab --
MINOR = sed -n 's/^[^0-9]*1\.\([0-9]*\).*/\1/p'

.DEFAULT_GOAL := help
.PHONY: help build image demo test prove e2e lint bench book clean need-rust need-go

help: ## List what make can do
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: need-rust ## Build the program: target/release/calico-upgrader (FEATURES=otel for traces)
	cargo build --release --locked $(if $(FEATURES),--features $(FEATURES))

image: need-rust ## Build the image without Docker: target/image/calico-upgrader-amd64.tar (ARCH=amd64|arm64|all IMAGE=NAME:TAG FEATURES=otel)
	image/build.sh $(ARCH)

demo: need-rust need-go ## Upgrade a worn-in cluster before your eyes (KUBERNETES=1.34|1.8 RELEASE=v2.2.1|v2.4.1|v2.5.1 FLAVOUR=networking|policy-only NODES=12)
	cargo build --locked
	$(LAB) --kubernetes $(KUBERNETES) --release $(RELEASE) --flavour $(FLAVOUR) --nodes $(NODES) --size full -- tests/demo.sh

test: need-rust need-go ## Test every behaviour, and a slice of each matrix of kills, on real control planes that are built once and kept
	tests/control-plane/build.sh
	tests/suite.sh

prove: need-rust need-go ## Try everything: whole matrices, pairs of kills, kills at random, on every version (PART=3/8 for one of eight parts)
	tests/control-plane/build.sh
	tests/suite.sh $(PART)

e2e: need-rust ## Upgrade, kill and break a cluster of kind with real kubelets; without docker as root (KIND_IMAGE=kindest/node:v1.34.11)
	e2e/run.sh

lint: need-rust ## Hold the sources against rustfmt and clippy, and the dependencies against deny.toml
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features faults,otel --locked -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck tests/*.sh e2e/*.sh e2e/cases/*.sh e2e/runc-* e2e/node-image/build.sh e2e/node-image/files/pod-network e2e/node-image/files/crictl image/*.sh; else echo "shellcheck: skipped (it is not installed)"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo "cargo deny: skipped (cargo-deny is not installed)"; fi

bench: need-rust need-go ## Measure
	cargo bench --locked

book: ## Build docs/ as a book: target/book/index.html (needs mdbook)
	tests/book.sh

clean: ## Remove what was built and the files of demos; the control planes stay in the cache
	cargo clean
	rm -rf target/demo

need-rust:
	@missing=; \
	minor=$$(rustc --version 2>/dev/null | $(MINOR)); \
	[ "$${minor:-0}" -ge 89 ] || missing="Rust 1.89 or newer (apt-get install curl; curl -sSf https://sh.rustup.rs | sh)"; \
	command -v cc >/dev/null || missing="$${missing:+$$missing, }a C compiler (apt-get install gcc libc6-dev)"; \
	[ -z "$$missing" ] || { echo "make: missing: $$missing" >&2; exit 1; }

need-go:
	@minor=$$(go version 2>/dev/null | $(MINOR)); [ "$${minor:-0}" -ge 26 ] || { echo 'make: missing: Go 1.26 or newer, since Debian has an older one' \
	'(mkdir -p ~/.local; curl -L https://go.dev/dl/go1.26.8.linux-$$(dpkg --print-architecture).tar.gz | tar -xzC ~/.local; export PATH=~/.local/go/bin:$$PATH)' >&2; exit 1; }

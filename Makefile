# Thin verbs over cargo and longshore; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

name ?= echo
data ?= {}
LONGSHORE = cargo run --quiet --release -p longshore --

.PHONY: help
help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { \
	  echo "error: no Rust toolchain; install one with rustup: https://rustup.rs" >&2; exit 4; }
	@command -v cc >/dev/null || { \
	  echo "error: no C linker; install one, on Debian: apt-get install gcc libc6-dev" >&2; exit 4; }

.PHONY: dev
dev: toolchain ## run everything on this machine, without Docker; Ctrl-C ends it
	@cargo build --release -p longshore
	@exec $$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/longshore up $(args)

.PHONY: test
test: toolchain ## all tests that need no Docker
	cargo test --workspace

.PHONY: lint
lint: toolchain ## formatting and clippy, as CI runs them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: fmt
fmt: toolchain ## format the code
	cargo fmt --all

.PHONY: bench
bench: toolchain ## measure beside the peers; writes benches/RESULTS.md
	cargo run --release -p benches -- all

.PHONY: invoke
invoke: toolchain ## invoke a function of the running sandbox: make invoke name=echo data='{"a":1}'
	@$(LONGSHORE) invoke $(name) --data '$(data)'

.PHONY: new
new: toolchain ## make a handler from the template: make new name=orders
	@$(LONGSHORE) new $(name)

.PHONY: doctor
doctor: toolchain ## say what this machine has, what it lacks and how to get it
	@$(LONGSHORE) doctor

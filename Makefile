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
test: toolchain ## all tests that need no Docker; ARTIFACTS=1 runs the pipelines from packages instead
ifdef ARTIFACTS
	cargo run --quiet --package longshore -- build --all --arch $$(uname -m) --out target/test-packages
	LONGSHORE_TEST_ARTIFACTS=$(CURDIR)/target/test-packages cargo test --package e2e-tests --test e2e
else
	cargo test --workspace
endif

.PHONY: lint
lint: toolchain ## formatting and clippy, as CI runs them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: fmt
fmt: toolchain ## format the code
	cargo fmt --all

.PHONY: conformance
conformance: toolchain ## write docs/conformance.md anew from the cases
	cargo test --package mock-gateway --test conformance -- --ignored --exact page::write

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

.PHONY: lambda-build
lambda-build: toolchain ## package a function for Lambda: make lambda-build filename=demo; args='--arch arm64'
	@$(LONGSHORE) build $(filename) $(args)

# --- the sandbox in containers -----------------------------------------------------------
# The containers run as whoever calls make, and so leave no file that is not theirs.
export LONGSHORE_UID ?= $(shell id -u)
export LONGSHORE_GID ?= $(shell id -g)
export DOCKER_BUILDKIT = 1
# The keeper's, where the engine is not at the usual socket; .env has the last word.
export LONGSHORE_SOCKET_OF_CALLER = $(patsubst unix://%,%,$(filter unix://%,$(DOCKER_HOST)))
COMPOSE = docker compose
# Whether or not .env wants the keeper: what is there is to go.
COMPOSE_ALL = $(COMPOSE) --profile keeper
follow ?= --follow --tail 100
DOCKER_TEST = cargo test --package e2e-tests --features docker --test docker

.PHONY: docker
docker:
	@docker compose version >/dev/null 2>&1 || { \
	  echo "error: no Docker with Compose v2; install it: https://docs.docker.com/engine/install" >&2; exit 4; }
	@docker info >/dev/null 2>&1 || { \
	  echo "error: no Docker engine answers; start it, or see what 'docker info' says" >&2; exit 4; }

.PHONY: docker-build
docker-build: docker ## build the images; an image that is up to date costs a second
	$(COMPOSE) build destination gateway

.PHONY: up
up: docker ## run everything in containers, wait until it is healthy, print a curl
	@$(COMPOSE) up --detach --wait --wait-timeout 900 || { \
	  $(COMPOSE) ps --all; docker/why-no-keeper >&2 || echo "error: not healthy; 'make logs' says why" >&2; exit 1; }
	@$(COMPOSE) config --services | grep -qx keeper || $(COMPOSE_ALL) rm --stop --force keeper 2>/dev/null
	@gateway="$$($(COMPOSE) port gateway 5555)"; poller="$$($(COMPOSE) port poller 5006)"; \
	printf '\n  %s\n    %s\n\n  %s\n\n' \
	  "curl -X POST 'http://$$gateway/lambda/demo' -H 'Content-Type: application/json' \\" \
	  "-d '{\"data_url\": \"http://fake_s3:4566/test-bucket/sample.ndjson\", \"callback_url\": \"http://api_destination:5005/mock/poll/\", \"webhook_id\": \"wh-abcd12345\"}'" \
	  "curl 'http://$$poller/_longshore/jobs/wh-abcd12345?wait=10s'"

.PHONY: down
down: docker ## stop and remove the containers and their network
	$(COMPOSE_ALL) down --remove-orphans

.PHONY: ps
ps: docker ## the containers and how they are
	$(COMPOSE) ps --all

.PHONY: logs lambda-logs dest-logs poller-logs
logs: docker ## follow all logs; follow= prints what is there and ends
	$(COMPOSE) logs $(follow)
lambda-logs: docker ## follow the gateway's log, which has the functions' output
	$(COMPOSE) logs $(follow) gateway
dest-logs: docker ## follow the destination's log
	$(COMPOSE) logs $(follow) destination
poller-logs: docker ## follow the poller's log
	$(COMPOSE) logs $(follow) poller

.PHONY: restart restart-lambda restart-dest
restart: docker ## restart all containers
	$(COMPOSE) restart
	$(COMPOSE) up --detach --wait --no-recreate
restart-lambda: docker ## restart the gateway
	$(COMPOSE) restart gateway
	$(COMPOSE) up --detach --wait --no-recreate gateway
restart-dest: docker ## restart the destination
	$(COMPOSE) restart destination
	$(COMPOSE) up --detach --wait --no-recreate destination

.PHONY: sh lambda-sh dest-sh
sh: docker ## a shell in a new container with the toolchain and the workspace
	$(COMPOSE) run --rm --no-deps gateway bash
lambda-sh: docker ## a shell in the running gateway
	$(COMPOSE) exec gateway bash
dest-sh: docker ## a shell in the running destination
	$(COMPOSE) exec destination bash

.PHONY: docker-test docker-test-class docker-test-func
docker-test: toolchain docker-build ## the tests that need Docker
	tests/docker/run $(DOCKER_TEST)
docker-test-class: toolchain docker-build ## one file of them: make docker-test-class class_name=pipeline
	@[[ -n "$(class_name)" ]] || { echo "error: which file? make $@ class_name=pipeline" >&2; exit 2; }
	tests/docker/run $(DOCKER_TEST) -- $(class_name)::
docker-test-func: toolchain docker-build ## one of them: make docker-test-func class_name=pipeline func_name=a_bad_webhook_is_told_what_to_mend_and_starts_nothing
	@[[ -n "$(class_name)" && -n "$(func_name)" ]] || { echo "error: which one? make $@ class_name=pipeline func_name=..." >&2; exit 2; }
	tests/docker/run $(DOCKER_TEST) -- --exact $(class_name)::$(func_name)

.PHONY: clean
clean: docker ## remove the containers, their volumes and the images built here
	$(COMPOSE_ALL) down --remove-orphans --volumes
	docker image rm --force $$(LONGSHORE_AWS_IMAGE=not-ours $(COMPOSE) config --images | grep -vx not-ours | sort -u) 2>/dev/null || true
	docker image prune --force --filter label=com.docker.compose.project=longshore

# make run  - builds what is missing and starts the gateway with its demo server
# make test - every check, as CI runs it
# make help - the other targets

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help packages test-packages build run test lint eval bench-setup bench bench-growth bench-micro fuzz deny clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

packages: ## install the system packages that the build needs
	@.ci/packages build

test-packages: ## install the system packages that the tests need
	@.ci/packages test

build: packages ## build the gateway (release)
	$(CARGO) build --release --locked -p tidegate-net

run: build ## build and start: embedded default, demo server, http://127.0.0.1:8080/mcp/demo
	target/release/tidegate run

lint: packages ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

test: test-packages lint ## everything CI checks
	$(CARGO) build --workspace --locked --bins
	tests/peers/setup.sh
	$(CARGO) test --workspace --locked
	python3 -B -m unittest discover --quiet -s bench
	python3 -B bench/instructions.py

eval: build ## what inspection finds, misses and wrongly flags on the labelled sets; one table
	python3 -B bench/eval.py $(EVAL_ARGS)

bench-micro: packages ## criterion benchmarks of the stages
	$(CARGO) bench --locked -p tidegate-bench

BENCH_PROGRAMS = -p tidegate-net -p tidegate-loadgen -p tidegate-forwarder

bench-setup: packages
	@.ci/packages bench
	bench/peers/setup.sh
	$(CARGO) build --release --locked $(BENCH_PROGRAMS)

bench: bench-setup ## side by side with nginx, HAProxy and others; writes bench/results/ (20 minutes; BENCH_ARGS=--quick: 4)
	python3 bench/compare.py $(BENCH_ARGS)

bench-growth: bench-setup ## cost against payload, rules, connections, servers, streams; writes bench/results/ (7 minutes)
	python3 bench/growth.py $(BENCH_ARGS)

fuzz: packages ## each fuzz target for FUZZ_SECONDS (default 60); needs cargo-fuzz and a nightly toolchain
	cd fuzz && for t in $$($(CARGO) fuzz list); do mkdir -p corpus/$$t seeds/$$t; \
		$(CARGO) fuzz run $$t corpus/$$t seeds/$$t -- -max_total_time=$${FUZZ_SECONDS:-60} -timeout=300; done

deny: ## licences, bans, sources (needs cargo-deny)
	$(CARGO) deny check bans licenses sources

clean: ## remove what was built and downloaded
	$(CARGO) clean
	rm -rf .cache

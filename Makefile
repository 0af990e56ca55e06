# make demo   the whole product on this machine, with one photo sent through it
# make test   everything that checks it: lint, types, imports, tests (SQLite, and PostgreSQL where it matters)
#
#
# Both set up .venv by themselves. Options: PORT=8001, HOST=0.0.0.0, DATA=folder-or-csv, PHOTO=file, PYTHON=python3.11

PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(shell command -v $(name) 2>/dev/null)))
PORT ?= 8000
HOST ?= 127.0.0.1
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input
quoted = '$(subst ','\'',$(1))'
# Own pictures get a site of their own, so that they never mix with the sample.
export VAR_DIR ?= var/demo$(if $(DATA),-$(shell printf '%s' $(call quoted,$(abspath $(DATA))) | cksum | cut -d' ' -f1))

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit postgres messages options clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: .venv/product
	@exec $(BIN)/python manage.py demo $(if $(DATA),$(call quoted,$(DATA))) $(if $(PHOTO),--photo $(call quoted,$(PHOTO))) --host $(HOST) --port $(PORT)

test: .venv/everything lint types unit postgres

lint: .venv/everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/everything
	$(BIN)/mypy

# Whole sites in real processes need the cores for themselves; the other tests share them, a core each: two processes
# with two threads each would wait for one another.
unit: .venv/everything
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not system"
	$(BIN)/python -m pytest -m system

# The parts that depend on the database once more, on a real PostgreSQL.
postgres: .venv/everything
	$(BIN)/python -m tests.on_postgres -n 2 --dist loadfile -m "database and not system"
	$(BIN)/python -m tests.on_postgres -m "database and system"

# The sentences that people read, collected for their translations (locale/), and those compiled.
messages: .venv/everything
	$(BIN)/python -m tests.messages

# The hyperparameters of training runs, for the web process, which must not import torch.
options: .venv/product
	$(BIN)/python -m ml options > catalog/services/training/options.json.part
	mv catalog/services/training/options.json.part catalog/services/training/options.json

clean:
	rm -rf .venv var

# --- set-up: a stamp file says which requirements are installed

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No python3 found. Install Python 3.11 or newer, or say where it is: make PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11. Name a newer one: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import shutil, sys; sys.exit(shutil.disk_usage(".").free < 3 * 2**30)' || { echo "Less than 3 GB are free on this disk; the packages need that much." >&2; exit 2; }
	@echo "Making a virtual environment in .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing. On Debian: apt install python3-venv" >&2; exit 2; }

.venv/product: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing the packages (a few minutes the first time) ..."
	@$(PIP) install -r requirements.txt -c constraints.txt || { echo "The packages could not be installed; the lines above say why." >&2; exit 2; }
	@touch $@

.venv/everything: requirements-dev.txt requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing the packages and the test tools (a few minutes the first time) ..."
	@$(PIP) install -r requirements-dev.txt -c constraints.txt || { echo "The packages could not be installed; the lines above say why." >&2; exit 2; }
	@touch .venv/product $@

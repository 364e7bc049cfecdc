# Everything runs in a virtual environment of its own, installed from the tested lock.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

.PHONY: help demo test test-long test-schedules lint types docs wheel clean

help:  ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/demo.stamp  ## Train a model over 40 parties, with a live progress bar and a report
	$(VENV)/bin/comity demo

test: $(VENV)/dev.stamp  ## Run the quick tests
	$(RUN) -m pytest -n auto -m "not long and not schedules"

test-long: $(VENV)/dev.stamp  ## Run the long tests, the examples among them
	$(RUN) -m pytest -m long

test-schedules: $(VENV)/dev.stamp  ## Play 2,000 schedules of faults in virtual time
	$(RUN) -m pytest -n auto --maxschedchunk 1 -m schedules tests/faults

lint: $(VENV)/dev.stamp  ## Check style, and that floors import only downwards
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: $(VENV)/dev.stamp  ## Check types (mypy --strict)
	$(RUN) -m mypy

docs: $(VENV)/dev.stamp  ## Build the manual into site/
	$(VENV)/bin/mkdocs build --strict

wheel: $(VENV)/dev.stamp  ## Build the wheel, install it into an empty environment and use it there
	rm -rf dist build/wheel-check
	$(RUN) -m build --wheel
	$(PYTHON) -m venv build/wheel-check
	build/wheel-check/bin/python -m pip install --quiet -c requirements.lock dist/*.whl
	cd build && wheel-check/bin/python ../tests/wheel_check.py
	build/wheel-check/bin/comity --version

clean:  ## Remove what was built
	rm -rf $(VENV) build dist site

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Comity needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(VENV)/bin/python pyproject.toml requirements.lock
	$(RUN) -m pip install --quiet -c requirements.lock -e ".[demo]"
	touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python pyproject.toml requirements.lock
	$(RUN) -m pip install --quiet -c requirements.lock -e ".[all,dev]"
	touch $@

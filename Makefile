# Every target creates what it needs: a machine with python3 (>= 3.10, with venv) and make is enough.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROWSER := build/.browser
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# Threads that spin while they wait make each other twenty times slower on a machine that is not idle.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help env quickstart check test lint unit slow matrix style audit peers browser clean

help:  ## show the targets
	@grep -E '^[a-z_]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

env: $(READY)  ## create .venv with everything, at the versions of constraints.txt

quickstart: $(READY)  ## score, select and train on real rows; about three minutes on two idle cores
	$(BIN)/datasel run recipes/quickstart.yaml --output-dir runs/quickstart

check: test audit slow  ## everything CI runs

test: lint unit  ## style, types and all tests but the slow ones; under six minutes on two cores

lint: $(READY)  ## style, types and import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY) browser  ## tests and docstring examples, but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(READY)  ## tests that take more than five seconds each: processes that are killed, torchrun, Ray, whole runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

matrix: $(READY)  ## fast tests with the lowest and the newest dependencies, on every Python found; hours, and 30 GB
	$(BIN)/nox

browser: $(BROWSER)  ## Chromium for the tests of the report page; where it cannot be had they are skipped, and say so

# Never a failure: whoever has no Chromium and may not install it still gets all other tests, and is asked again next time.
$(BROWSER):
	@mkdir -p build
	@found() { [ -n "$$CHROMIUM" ] && echo "$$CHROMIUM" && return 0; for name in chromium chromium-browser google-chrome-stable google-chrome; do command -v $$name && return 0; done; return 1; }; \
	if ! found >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the tests of the report page."; \
		(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core) >build/browser.log 2>&1; \
	fi; \
	if found >$@.tmp; then mv $@.tmp $@; \
	else rm -f $@.tmp; echo "There is no Chromium here, and it could not be installed: tests in a browser will be skipped."; fi

style: $(READY)  ## rewrite files in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Part of `check`, not of `test`: an advisory is news of the world, and may fail a change that has nothing to do with it.
audit:  ## known faults in the versions of constraints.txt; says NOT AUDITED where nobody can be asked
	@$(PYTHON) -m venv build/audit
	@if build/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9' >build/audit.log 2>&1; \
	then build/audit/bin/python tests/security/audit.py; \
	else echo "NOT AUDITED: pip-audit could not be installed (see build/audit.log)."; fi

peers: $(READY)  ## put the libraries that benchmarks compare with into build/peers, beside the environment
	$(BIN)/python -m pip install --quiet --no-deps --target build/peers --upgrade -r benchmarks/peers.txt

clean:  ## remove the environment and what runs wrote
	rm -rf .venv .nox runs build *.egg-info .mypy_cache .pytest_cache .ruff_cache

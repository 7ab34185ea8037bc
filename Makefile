# Every target does its own set-up, in folders of its own.
PYTHON ?= python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
TEST_ENV := .cache/test-env
DEMO_ENV := .cache/demo-env
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: help demo check test prove bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

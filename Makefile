# Every task makes what it needs first; what is made already costs nothing.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
SETUP := .venv/requirements.lock .venv/build.lock .venv/salver
DEV := $(SETUP) .venv/container/pydantic-ai.lock .venv/dev.lock

# What sandboxes need of a Linux system, as command:package, and what only tests need beside it: nobody
# gets a keychain by starting Salver.
SYSTEM := bwrap:bubblewrap setpriv:util-linux
TESTED := gnome-keyring-daemon:gnome-keyring dbus-run-session:dbus

# The rooms of tests, cheap and telling ones first; `make tests/server` runs one.
ROOMS := $(wildcard $(addprefix tests/,house server runner contract crash journeys))

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup run test check bench gen system format types lint layers unused drift largest $(ROOMS)

help: ## list the tasks
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 13

setup: system $(SETUP) ## put Salver and what it needs into .venv
	@echo "· ready: $(BIN)/salver"

run: setup ## start the server
	@exec $(BIN)/salver serve

test: check $(ROOMS) ## all that CI runs: check, then every room of tests

check: format types lint layers unused drift largest ## all that runs no test: layout, types, rules, locks

bench: system $(DEV) ## measure the budgets
	@$(BIN)/python -m tests.bench

gen: $(DEV) ## write the locks anew; UPGRADE=--upgrade moves every pin up
	@$(call compile,.)

# Made of:

stage = @echo "── $(1)"; TIMEFORMAT="── $(1): %1R s"; time $(2)

format: $(DEV)
	$(call stage,$@,$(BIN)/ruff format --check --quiet .)

types: $(DEV)
	$(call stage,$@,$(BIN)/pyright)
	$(call stage,$@ of the runner,$(BIN)/pyright --project container)

lint: $(DEV)
	$(call stage,$@,$(BIN)/ruff check --quiet .)

layers: $(DEV)
	$(call stage,$@,PYTHONPATH=container $(BIN)/lint-imports --no-logo)

unused: $(DEV)
	$(call stage,$@,$(BIN)/deptry server desktop)
	$(call stage,$@ of the runner,$(BIN)/deptry --config container/pyproject.toml container/salver_runner)

$(ROOMS): SYSTEM += $(TESTED)
$(ROOMS): system $(DEV)
	$(call stage,$@,$(BIN)/python -m pytest --quiet $@)

largest:
	@echo "── the ten largest files"; find server container desktop -name '*.py' -exec wc -l {} + | sort -rn | sed -n 2,11p

# $(call compile,folder): resolves the locks in that folder; a pin that still fits stays.
UV = $(BIN)/uv pip compile --quiet $(UPGRADE)
compile = $(UV) pyproject.toml -o $(1)/requirements.lock \
	&& $(UV) --group build -c $(1)/requirements.lock -o $(1)/build.lock \
	&& $(UV) container/pyproject.toml --all-extras -c $(1)/requirements.lock -o $(1)/container/pydantic-ai.lock \
	&& $(UV) --group dev -c $(1)/requirements.lock -c $(1)/build.lock -c $(1)/container/pydantic-ai.lock -o $(1)/dev.lock

# uv says 2 when it can't reach the index: no reason to stop anyone but CI.
drift: $(DEV)
	@echo "── locks"; fresh=$$(mktemp -d); trap "rm -r $$fresh" EXIT; \
	mkdir $$fresh/container; cp *.lock $$fresh; cp container/*.lock $$fresh/container; \
	$(call compile,$$fresh); status=$$?; \
	if [ $$status = 2 ]; then echo "not compared: no index"; [ -z "$$CI" ]; exit; fi; \
	[ $$status = 0 ] && for lock in *.lock container/*.lock; do diff -u $$lock $$fresh/$$lock || status=1; done; \
	[ $$status = 0 ] || echo "the locks don't follow from the manifests; run: make gen"; exit $$status

system:
	@[ "$$(uname)" = Linux ] || exit 0; \
	missing=$$(echo $$(for need in $(SYSTEM); do command -v $${need%:*} >/dev/null || echo $${need#*:}; done)); \
	[ "$$missing" ] || exit 0; \
	echo "· installing system packages: $$missing"; \
	[ $$(id -u) = 0 ] || become="sudo -n"; \
	$$become sh -c "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install --no-install-recommends $$missing" &>/dev/null \
	|| echo "· could not; please do: sudo apt install $$missing"

.venv/made:
	@echo "· making a Python environment in .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Salver needs Python 3.11 or later: make PYTHON=... names one")'
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/%.lock: %.lock | .venv/made
	@echo "· installing $<"
	@$(PIP) install --require-hashes --only-binary :all: --requirement $<
	@mkdir -p $(@D) && cp $< $@

.venv/salver: pyproject.toml packaging/wheel.py .venv/requirements.lock .venv/build.lock
	@echo "· installing Salver itself, editable"
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

# `make help` lists the targets. Needed: Python 3.11 or newer, and make; for `make smoke`, a Docker engine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check smoke chaos reconcile screenshots conformance simulate bench bench-peers lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup  ## run the whole system, send orders through it, show their way, check the outcome
	@$(BIN)/python -m local demo

up: setup  ## run the whole system until Ctrl-C; data is kept in .local/
	@$(BIN)/python -m local up

test: setup  ## run all tests, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: setup  ## lint, formatting, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

smoke: setup  ## the same system in containers: one order through docker compose, then tear down
	@$(BIN)/python -m local smoke

chaos: setup  ## break one part after the other under a stream of orders; in the end all has to agree
	@$(BIN)/python -m local chaos

reconcile: setup  ## compare what Order and SCM of `make up` say about every order, article and event
	@$(BIN)/python -m local reconcile

screenshots: setup  ## renew the pictures of the page in docs/ (needs Chromium)
	@SCREENSHOTS=docs $(BIN)/python -m pytest -q tests/console/test_page.py

conformance: setup .venv-localstack/installed  ## the suites of listener, channels and topology on a second engine
	@$(BIN)/python -m local conformance

simulate: setup  ## the listener under every fault that a queue has, in HISTORIES=10000 histories
	@HISTORIES=$(or $(HISTORIES),10000) $(BIN)/python -m pytest -q tests/snsqs/test_simulation.py

bench: setup  ## measure the messaging library against what is written by hand; BENCH=--full, BENCH=--help
	@$(BIN)/python -m benchmarks $(BENCH)

bench-peers: setup .venv-peers-celery/installed .venv-peers-taskiq/installed benchmarks/peers/node_modules/installed  ## the same against Celery, taskiq and sqs-consumer (needs Node.js)
	@$(BIN)/python -m benchmarks.peers

setup: $(VENV)/installed .venv-aws/installed  ## install what is locked, into .venv and .venv-aws

clean:  ## remove the data of `make up`
	@rm -rf .local

lock: setup  ## renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile -q pyproject.toml $(LOCK) -o requirements/services.txt
	uv pip compile -q pyproject.toml --extra local --extra dev -c requirements/services.txt $(LOCK) -o requirements/dev.txt
	uv pip compile -q requirements/aws.in $(LOCK) -o requirements/aws.txt
	uv pip compile -q requirements/localstack.in $(LOCK) -o requirements/localstack.txt
	uv pip compile -q requirements/peers-celery.in $(LOCK) -o requirements/peers-celery.txt
	uv pip compile -q requirements/peers-taskiq.in $(LOCK) -o requirements/peers-taskiq.txt
	cd benchmarks/peers && npm install --package-lock-only --omit-lockfile-registry-resolved --silent

LOCK := --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# pip refuses folders where hashes are required, so the library of this repository is a second step.
$(VENV)/installed: requirements/dev.txt shared/snsqs/pyproject.toml
	@$(call make_venv,$(VENV),requirements/dev.txt)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./shared/snsqs
	@touch $@

.venv-aws/installed: requirements/aws.txt
	@$(call make_venv,.venv-aws,requirements/aws.txt)

.venv-localstack/installed: requirements/localstack.txt
	@$(call make_venv,.venv-localstack,requirements/localstack.txt)

.venv-peers-%/installed: requirements/peers-%.txt
	@$(call make_venv,.venv-peers-$*,requirements/peers-$*.txt)

benchmarks/peers/node_modules/installed: benchmarks/peers/package-lock.json
	@cd benchmarks/peers && npm ci --silent --no-audit --no-fund && touch node_modules/installed

# A file marks a finished installation, so that one that was interrupted is done again.
define make_venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "error: $(PYTHON) is not Python 3.11 or newer; choose another with PYTHON=…"; exit 1; }
	echo "installing $(2) into $(1) (once, about a minute)"
	$(PYTHON) -m venv $(1) && $(1)/bin/python -m pip $(INSTALL) -r $(2) 2>$(1)/pip.log \
		|| { cat $(1)/pip.log; echo "error: the installation failed, see above"; exit 1; }
	touch $@
endef

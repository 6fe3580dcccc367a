# What a new user calls. Everything happens in .venv; nothing is installed elsewhere.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.ready
INSTALL  = $(BIN)/python .ci/install --disable-pip-version-check -c constraints.txt
DATA    ?= data/demo
MINUTES ?= 3
SEED    ?=
ARGS    ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format models bench storm stop down clean

help: ## This list
	@echo 'Parley: from a fresh clone, "make demo" shows it and "make test" proves it.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install everything into it (done once)

$(STAMP): pyproject.toml constraints.txt
	@./.ci/make-venv $(VENV)
	@echo "==> installing the Python packages (2 GB; one to four minutes the first time)"
	@$(INSTALL) pip
	@$(INSTALL) -e '.[dev,train]'
	@touch $@

demo: setup ## Start the stack, show what it does, leave it running
	@$(BIN)/python -m parley.demo --data $(DATA) $(ARGS)

test: setup ## Run every test (ARGS="-k name" for some)
	@$(BIN)/python -m pytest $(ARGS)

check: setup ## Formatting, lint, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m schemas check

format: setup ## Put the code into the one format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

models: setup ## Train the heads again and print their accuracy
	@$(BIN)/python -m parley.training $(ARGS)

bench: setup ## Measure the engine, then the same work by its peers (20 minutes)
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.peers $(ARGS)

storm: setup ## Faults and load on a real stack, judged: MINUTES=3 SEED=n
	@$(BIN)/python -m tests.storm --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

stop: ## Stop what the demo left running
	@test ! -x $(BIN)/parley || $(BIN)/parley down --data $(DATA) || true

down: stop ## The same

clean: stop ## Remove .venv, the demo's data and all caches of tools
	rm -rf $(VENV) $(DATA) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

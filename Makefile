# Every target does its own set-up; it needs only Python >= 3.11 and make. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
TEST_VENV := .venv-test
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help demo test test-long chaos chaos-quick lab lint check protos constraints bench bench-quick clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/swarm: pyproject.toml constraints.txt
	@echo "Installing Garage Swarm into $(VENV) (once; some minutes) …"
	@scripts/make_env.sh $(VENV) dev,hub,postgresql
	@touch $@

demo: $(BIN)/swarm ## a whole swarm on this machine: train a tiny model together, in under three minutes
	@$(BIN)/swarm demo

$(TEST_VENV)/bin/swarm:
	@scripts/debian_packages.sh
	@echo "Installing into $(TEST_VENV), from nothing …"
	@scripts/make_env.sh $(TEST_VENV) dev,hub,postgresql

# Three at a time also on two cores: a test of processes waits as often as it computes.
test: ## all tests but the long ones, in an environment made anew
	@rm -rf $(TEST_VENV)
	@$(MAKE) --no-print-directory $(TEST_VENV)/bin/swarm
	@$(TEST_VENV)/bin/python -m pytest -m "not long" -n 3 --dist loadfile --no-loadscope-reorder

test-long: $(BIN)/swarm ## the tests that take minutes
	@$(BIN)/python -m pytest -m long --timeout 900

# Where a lab can be built, lines are cut, too. `make chaos SEED=7 MINUTES=10` repeats a plan.
SEED ?= $(shell date +%j%H%M)
MINUTES ?= 10
LAB = $$($(BIN)/python -c 'from tests.lab import kernel; print("" if kernel.missing() else "--lab")')

chaos: $(BIN)/swarm ## half an hour of faults in swarms of 6 and 8 real peers; for every night
	@scripts/debian_packages.sh
	@$(BIN)/python -m tests.chaos --peers 8 --mode gradient --minutes $(MINUTES) --seed $(SEED) $(LAB)
	@$(BIN)/python -m tests.chaos --peers 6 --mode local --minutes $(MINUTES) --seed $(SEED) $(LAB)

chaos-quick: $(TEST_VENV)/bin/swarm ## two minutes of faults in a swarm of 5 real peers; part of CI, after `make test`
	@$(TEST_VENV)/bin/python -m tests.chaos --peers 5 --minutes 2 --seed 1

lab: $(BIN)/swarm ## swarms on home links in network namespaces; needs root on Linux
	@scripts/debian_packages.sh
	@$(BIN)/python -m pytest tests/lab --timeout 600

check: $(BIN)/swarm ## tests in the environment that is there: for work in progress
	@$(BIN)/python -m pytest -m "not long" -x

lint: $(BIN)/swarm ## ruff, mypy, import directions, generated code
	@scripts/lint.sh $(BIN)

protos: $(BIN)/swarm ## generate swarm/proto from protos/
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/generate_protos.sh

constraints: ## find the newest permitted versions and write them to constraints.txt
	@scripts/make_constraints.sh

bench: $(BIN)/swarm ## the benchmarks; results go to docs/results
	@for name in benchmarks/bench_*.py; do $(BIN)/python $$name || exit 1; done

bench-quick: $(BIN)/swarm ## the same, each under a minute, results only shown
	@for name in benchmarks/bench_*.py; do $(BIN)/python $$name --quick || exit 1; done

clean: ## remove what the targets made
	@rm -rf $(VENV) $(TEST_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find swarm peer coordinator -name __pycache__ -prune -exec rm -r {} +

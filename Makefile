# The two to know: `make lab` and `make test`. `make` alone lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=HOME,PATH)
SHARD ?= 1/1
SUITE ?= trixie

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

.PHONY: setup
setup: ## install what the lab needs on this machine
	@tools/setup.sh controller

.PHONY: setup-dev
setup-dev: ## install what development and tests need on this machine
	@tools/setup.sh dev

.PHONY: lab
lab: setup ## a whole cluster on this machine, provisioned by the roles, running a training job (SUITE=trixie)
	@$(AS_ROOT) $(BIN)/fleetward lab up --suite $(SUITE)

.PHONY: lab-down
lab-down: ## remove the lab with everything that belongs to it
	@$(AS_ROOT) $(BIN)/fleetward lab down

.PHONY: lint
lint: setup-dev ## ruff, mypy, import contracts, ansible-lint, yamllint, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p fleetward.roles.slurm_controller.module_utils -p fleetward.roles.slurm_controller.library
	$(BIN)/mypy -p fleetward.roles.mig.module_utils -p fleetward.roles.mig.library
	$(BIN)/mypy -p fleetward.roles.tuning.library
	$(BIN)/mypy -p fleetward.playbooks.library
	MYPYPATH=examples/digits $(BIN)/mypy examples/digits
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --strict --offline
	$(BIN)/python tools/role_readme.py --check
	$(BIN)/shellcheck .ci/run $(wildcard tools/*.sh roles/*/files/*.sh)

.PHONY: unit
unit: setup-dev ## tests that need no container
	$(BIN)/pytest -n auto --dist loadfile -m "not lab and not slurm"

.PHONY: test
test: lint unit ## all that fits into forty minutes: lint, tests, a whole lab, Molecule for the roles that matter most
	$(AS_ROOT) $(BIN)/pytest -m "(slurm or lab) and not verify" --suite trixie tests
	$(AS_ROOT) tools/molecule.sh --baked munge slurm_node

.PHONY: verify
verify: setup-dev ## what is too long for `make test`, a part of it at a time (SHARD=1/5)
	$(AS_ROOT) $(BIN)/python tools/verify.py --shard $(SHARD)

.PHONY: bench
bench: setup-dev ## measure what is promised and print it with this machine's facts
	$(AS_ROOT) $(BIN)/python -m bench

.PHONY: lock
lock: setup-dev ## renew the lock files from pyproject.toml
	tools/lock.sh

.PHONY: clean
clean: ## remove what was built here
	rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

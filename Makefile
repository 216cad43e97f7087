# `make` alone lists what can be made. Paths are relative, so a folder name may hold spaces.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON := .venv/bin/python
INSTALLED := .make/installed
LOCKS := requirements/runtime.txt requirements/test.txt
LOCK := pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 --universal
ARGS ?=
# Half as many processes again as cores: many tests wait for servers and for other processes.
PROCESSES := $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$(( cores * 3 / 2 > 8 ? 8 : (cores * 3 + 1) / 2 )))
PARALLEL := --numprocesses=$(PROCESSES) --dist=worksteal

# Install Debian packages as root or with a sudo that asks nothing; else say what is missing.
define debian
install_from_debian() {
	if [ "$$(id -u)" = 0 ]; then root=(env)
	elif sudo -n true 2>/dev/null; then root=(sudo -n env)
	else echo "Missing on this machine: $$*. Install it, with: sudo apt-get install $$*" >&2; exit 1
	fi
	if ! command -v apt-get >/dev/null; then
		echo "Missing on this machine: $$*. Install it with your package manager." >&2; exit 1
	fi
	echo "Installing $$* from Debian's packages"
	{ "$${root[@]}" apt-get update -qq
	"$${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@"
	} </dev/null >.make/apt.log 2>&1 || { tail -5 .make/apt.log >&2; exit 1; }
}
endef

.PHONY: help
help: ## list what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

.PHONY: install
install: $(INSTALLED) ## make .venv with everything, at the locked versions

$(INSTALLED): $(LOCKS) pyproject.toml
	@$(debian)
	mkdir -p .make
	recent() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
	if recent python3.11; then python=python3.11
	elif recent python3; then python=python3
	else echo "Python 3.11 or newer is missing; install it, with: apt-get install python3" >&2; exit 1
	fi
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then install_from_debian python3-venv; fi
	[ -x $(PYTHON) ] && recent $(PYTHON) || "$$python" -m venv --clear .venv
	echo "Installing the locked dependencies into .venv"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/test.txt </dev/null
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable . </dev/null
	touch $@

.PHONY: servers
servers:
	@$(debian)
	mkdir -p .make
	missing=()
	if [ -z "$${AUDIENCE_SYNC_TEST_REDIS_URL:-}" ] && ! command -v redis-server >/dev/null; then
		missing+=(redis-server)
	fi
	if [ -z "$${AUDIENCE_SYNC_TEST_POSTGRESQL_URL:-}" ] && ! command -v initdb >/dev/null &&
		! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
		missing+=(postgresql)
	fi
	if [ "$${#missing[@]}" != 0 ]; then install_from_debian "$${missing[@]}"; fi

# In one process with ARGS="-n0", as it also is with --pdb or -p no:xdist.
.PHONY: test
test: $(INSTALLED) servers ## run all tests; make test ARGS="-k ledger" runs some
	@env -u PYTHONDONTWRITEBYTECODE $(PYTHON) -m pytest $(if $(findstring no:xdist,$(ARGS)),,$(PARALLEL)) \
		$(if $(findstring -m ,$(ARGS)),,-m "not chaos") $(ARGS)

ROUNDS ?= 50
SEED ?= 1
.PHONY: chaos
chaos: $(INSTALLED) servers ## kill workers and servers, round after round; make chaos ROUNDS=50 SEED=1
	@$(PYTHON) -m pytest -m chaos tests/chaos
	PYTHONPATH=.:tests $(PYTHON) -m chaos --rounds $(ROUNDS) --seed $(SEED) $(ARGS)

.PHONY: lint
lint: $(INSTALLED) ## check style and types
	@.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

.PHONY: demo
demo: $(INSTALLED) ## sync synthetic customers to simulated partners, and leave the project to play with
	@.venv/bin/audience-sync demo $(ARGS)

.PHONY: bench
bench: $(INSTALLED) ## measure against peers; ARGS go to each benchmark
	@$(PYTHON) bench/forms.py $(ARGS)
	$(PYTHON) bench/sync.py $(ARGS)

.PHONY: lock
lock: ## resolve requirements/*.in anew; the versions that are locked stay where they can
	@mkdir -p .make
	[ -x .make/uv/bin/uv ] || {
		python3 -m venv .make/uv
		.make/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	}
	cd requirements
	../.make/uv/bin/uv $(LOCK) runtime.in --output-file runtime.txt
	../.make/uv/bin/uv $(LOCK) test.in --output-file test.txt

.PHONY: clean
clean: ## remove what `make` made, but not the demo's project
	@rm -rf .venv .make build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

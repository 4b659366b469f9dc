# iqaflow. `make run` is the whole pipeline; every target sets up .venv first (once).
#   make run                              photographs -> annotated data -> trained, calibrated, benchmarked model -> gate
#   make run ARGS="--preset quick"        options for `iqaflow run`; ARGS="--set source.kind=folder --set source.path=photos"
#   make run CUDA=1                       the CUDA build of torch (chosen by itself where an NVIDIA GPU answers)
#   make test ARGS="tests/unit -k lens"   these tests, slow ones too; ARGS="path::test" for one

.PHONY: help setup run test test-all lint type demo up down doctor bench base lock ci clean
.DEFAULT_GOAL := help
STAMP := .venv/.installed
# two workers take file after file, the long ones (e2e, faults) first
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:        ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock infra/build.lock infra/cuda.lock pyproject.toml infra/setup.sh
	@CUDA="$(CUDA)" infra/setup.sh
	@touch $@

setup: $(STAMP)   ## .venv from requirements.lock

run: $(STAMP)     ## the pipeline, only what is out of date; ARGS="..." for options
	@iqaflow run $(ARGS)

test: $(STAMP)    ## the tests, with a representative of each slow kind; ARGS="path::test" for some, slow or not
	@$(PYTEST) $(or $(ARGS),-m "not slow")

test-all: $(STAMP)  ## every test, training killed fifty times, and the coverage
	@$(PYTEST) --cov --kills 50 $(ARGS)

lint: $(STAMP)    ## style and safety rules
	@ruff check .
	@ruff format --check --quiet . || { echo "make lint: these files are not in form; make fmt puts them in order:" >&2; ruff format --check . >&2; exit 1; }

type: $(STAMP)    ## types of src and flows (mypy --strict)
	@mypy

demo: $(STAMP)    ## a page in the browser: drop an image, click, compare; ARGS="--model DIR --port N"
	@iqaflow demo $(ARGS)

up: $(STAMP)      ## Prefect, MLflow and a worker on this machine's loopback
	@iqaflow up $(ARGS)

down: $(STAMP)    ## stop what `make up` started
	@iqaflow down

doctor: $(STAMP)  ## start every component for real and say what works
	@iqaflow doctor

bench: $(STAMP)   ## the measured tables of docs/benchmarks.md
	@set -e; for script in perf/*.py; do [ -e "$$script" ] || continue; echo "== $$script"; python "$$script"; done

base: $(STAMP)    ## make models/base-tiny anew (hours on a CPU); SOURCE=folder of photographs
	@iqaflow base $(if $(SOURCE),--set source.path=$(SOURCE)) $(ARGS)

lock: $(STAMP)    ## requirements.lock and infra/*.lock from requirements.in, with hashes; UPGRADE=1 for newer versions
	@UPGRADE="$(UPGRADE)" python infra/lock.py

.PHONY: fmt docs release
fmt: $(STAMP)     ## put in order what ruff can: form, imports, old spellings of new Python
	@ruff check --fix .
	@ruff format .

docs: $(STAMP)    ## links, paths, commands, parameters and variables that the documentation names are there
	@python infra/check_docs.py

release: $(STAMP) ## dist/*.whl, shown to work without a clone (packages borrowed from .venv; FULL=1: its own, from the lock)
	@FULL="$(FULL)" python infra/release.py

ci:               ## what .ci/run runs
	@.ci/run

clean:            ## remove caches and unfinished work; data, models, reports and runs stay
	rm -rf .iqaflow/scratch .iqaflow/worktrees .iqaflow/logs .pytest_cache .ruff_cache .hypothesis .coverage* build dist
	find src tests flows perf -name __pycache__ -type d -prune -exec rm -rf {} +

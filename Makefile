# `make help` lists the targets. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install check demo demo-s3 s3 test gpu faults operations shots slow clusters compiled lint wheel lock clean

help:
	@echo "make demo        prepare the built-in data set, train a small generator on it, promote it"
	@echo "make demo-s3     the same with a local S3 server as the store"
	@echo "make s3          open a shell with that server as the store"
	@echo "make check       run what CI runs: lint, tests, some faults, most operations, the demo twice"
	@echo "make lint        check format, lint, types, import rules"
	@echo "make test        run the fast tests"
	@echo "make slow        run the slow tests that have no target of their own"
	@echo "make gpu         run the tests that need a GPU"
	@echo "make faults      inject faults and count lost objects (MOMENTS=3 SEED=0 FAULTS=expression)"
	@echo "make operations  test operators' workflows with a Prefect server, workers and a browser"
	@echo "make clusters    test extraction on a Ray and on a Dask cluster"
	@echo "make compiled    test stopping and resuming a compiled run"
	@echo "make shots       write screenshots of the drawing page at ADDRESS"
	@echo "make wheel       build the wheel into dist/"
	@echo "make lock        resolve every dependency again into constraints.txt"
	@echo "make clean       remove .venv (results and weights are kept)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "icanvas needs Python 3.11 or newer; try: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
	@touch $@

# More options of `icanvas train`, for example TRAIN="--set epochs=1".
TRAIN ?=

demo: install
	@$(BIN)/icanvas prepare demo
	@$(BIN)/icanvas train demo $(TRAIN)
	@$(BIN)/icanvas promote demo last

# The server's data stay in .s3, so a second run skips completed work.
demo-s3: install
	@$(BIN)/python -m tests.s3 .s3 sh -c '$(BIN)/icanvas prepare demo && $(BIN)/icanvas train demo $(TRAIN) && $(BIN)/icanvas promote demo last'
	@echo "The S3 server has stopped. Run make s3 to open a shell with it."

s3: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.s3 .s3 $${SHELL:-sh}

test: install
	@# loadfile keeps a file's fixtures in one process. With more than four processes most of the
	@# time is spent on starting servers.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

gpu: install
	$(BIN)/python -m pytest -m gpu -rs

# Number of random moments at which each fault strikes, and their seed.
MOMENTS ?= 3
SEED ?= 0
# A pytest -k expression; empty for all.
FAULTS ?=
# Each process starts servers and makes a baseline run: for a few faults use one.
PROCESSES ?= 2
# The page is written for all faults only; for some the table is printed.
PAGE = $(if $(FAULTS),,docs/reliability.md)

faults: install
	@rm -f .faults.jsonl
	@# The table is written even if tests fail.
	$(BIN)/python -m pytest tests/faults -m faults --moments $(MOMENTS) --seed $(SEED) \
		--table .faults.jsonl --numprocesses $(PROCESSES) -k "$(FAULTS)"; code=$$?; \
	$(BIN)/python -m tests.faults.table .faults.jsonl $(PAGE); exit $$code

# Folder for screenshots of the UI: SHOTS=docs/img updates those of docs/operations.md.
SHOTS ?=

# A pytest -k expression; empty for all.
OPERATIONS ?=

# In one process, because all tests share one server. With chromium the UI is tested, too.
operations: install
	$(BIN)/python -m pytest tests/operations -m slow --numprocesses 0 -k "$(OPERATIONS)" \
		$(if $(SHOTS),--shots $(SHOTS))

# URL of a running `icanvas serve`, and the outline to draw, for example OUTLINE=demo/2; by default
# the first one.
ADDRESS ?= http://127.0.0.1:8080
OUTLINE ?=

shots: install
	$(BIN)/python -m pytest tests/serving/page/test_shots.py -m slow --numprocesses 0 \
		--shots docs/img --address $(ADDRESS) $(if $(OUTLINE),--outline $(OUTLINE))

slow: install
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile \
		--ignore=tests/operations --ignore=tests/flows/test_many_machines.py \
		--ignore=tests/model/training/test_compiled.py --ignore=tests/serving/page/test_shots.py

clusters: install
	$(BIN)/python -m pytest tests/flows/test_many_machines.py -m slow --numprocesses 0

# A compiled run is stopped and compiled again, which takes a C++ compiler minutes.
compiled: install
	$(BIN)/python -m pytest tests/model/training/test_compiled.py -m slow --numprocesses 0

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: install
	$(BIN)/python -m hatchling build -t wheel

# What CI runs. The operations tests mostly wait, so they run in parallel; the longest of them are
# left to `make operations`. Two faults at one moment each: a kill during extraction, and during a
# checkpoint's upload. The second demo must find everything done.
CHECK_OPERATIONS := not minutes and not training_run and not generator and not chooses
CHECK_FAULTS := flow_is_killed and (extract or upload)

check: install
	@set -e; scratch=$$(mktemp -d); operations=; \
	trap 'kill $$operations 2>/dev/null || true; rm -rf "$$scratch"' EXIT; \
	export ICANVAS_STORE="$$scratch/store" PREFECT_HOME="$$scratch/prefect"; \
	$(MAKE) operations OPERATIONS="$(CHECK_OPERATIONS)" >"$$scratch/operations.log" 2>&1 & operations=$$!; \
	$(MAKE) lint; \
	$(MAKE) test; \
	$(MAKE) faults MOMENTS=1 PROCESSES=1 FAULTS="$(CHECK_FAULTS)"; \
	$(MAKE) demo TRAIN="--set epochs=2"; \
	$(MAKE) demo TRAIN="--set epochs=2"; \
	wait "$$operations" || { cat "$$scratch/operations.log"; exit 1; }; \
	tail -n 3 "$$scratch/operations.log"

# One resolution for every platform and Python version, including CUDA packages; uv downloads
# metadata only.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--upgrade --no-header --no-annotate --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV) .s3 .faults.jsonl dist

# What a user needs is here: make demo, make test. Everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install check demo demo-s3 s3 test gpu faults operations shots slow clusters compiled lint wheel lock clean

help:
	@echo "make demo    prepare the built-in data set, train a small generator on it, promote it"
	@echo "make demo-s3 the same with a real S3 server as the store"
	@echo "make s3      a shell in which that server runs and is the store"
	@echo "make check   run what CI runs: lint, tests, some faults, most operations, the demo twice"
	@echo "make test    run the tests"
	@echo "make gpu     run the tests that need a GPU"
	@echo "make faults  kill, fill, tear and truncate, and count what is lost (MOMENTS=3 SEED=0)"
	@echo "make operations  start a Prefect server and workers, and do what operators do"
	@echo "make clusters    extract on a Ray and on a Dask cluster, and kill a worker"
	@echo "make slow        what takes longer of all that: more of each kind, and what needs minutes"
	@echo "make compiled    stop a compiled run, and go on"
	@echo "make shots       draw on the page at ADDRESS, and renew its screenshots"
	@echo "make lint    format check, lint, types, import rules"
	@echo "make wheel   build the wheel into dist/"
	@echo "make lock    resolve every dependency again into constraints.txt"
	@echo "make clean   remove .venv (results and weights stay where they are)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "icanvas needs Python 3.11 or newer; try: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
	@touch $@

# More words for training: TRAIN="--set epochs=1" is soon done.
TRAIN ?=

demo: install
	@$(BIN)/icanvas prepare demo
	@$(BIN)/icanvas train demo $(TRAIN)
	@$(BIN)/icanvas promote demo last

# The server's data stay in .s3, so that a second time is as quick as with make demo.
demo-s3: install
	@$(BIN)/python -m tests.s3 .s3 sh -c '$(BIN)/icanvas prepare demo && $(BIN)/icanvas train demo $(TRAIN) && $(BIN)/icanvas promote demo last'
	@echo "The server has stopped; make s3 opens a shell with it."

s3: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.s3 .s3 $${SHELL:-sh}

test: install
	@# A file stays in one process, for its fixtures; more processes than four mostly start servers.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

gpu: install
	$(BIN)/python -m pytest -m gpu -rs

MOMENTS ?= 3
SEED ?= 0
# An expression over the names of tests; all when empty.
FAULTS ?=
# Each has servers and an undisturbed run of its own: for a few faults one is enough.
PROCESSES ?= 2
# The page is of all; of some the table is printed.
PAGE = $(if $(FAULTS),,docs/reliability.md)

faults: install
	@rm -f .faults.jsonl
	@# The table also shows what was lost where a test failed.
	$(BIN)/python -m pytest tests/faults -m faults --moments $(MOMENTS) --seed $(SEED) \
		--table .faults.jsonl --numprocesses $(PROCESSES) -k "$(FAULTS)"; code=$$?; \
	$(BIN)/python -m tests.faults.table .faults.jsonl $(PAGE); exit $$code

# Where the screenshots of the UI go: SHOTS=docs/img renews those of docs/operations.md.
SHOTS ?=

# As FAULTS.
OPERATIONS ?=

# In one process, for one server; with chromium the UI is tried, too.
operations: install
	$(BIN)/python -m pytest tests/operations -m slow --numprocesses 0 -k "$(OPERATIONS)" \
		$(if $(SHOTS),--shots $(SHOTS))

# A running `icanvas serve`, and what is drawn there: OUTLINE=demo/2, its first when left out.
ADDRESS ?= http://127.0.0.1:8080
OUTLINE ?=

shots: install
	$(BIN)/python -m pytest tests/serving/page/test_shots.py -m slow --numprocesses 0 \
		--shots docs/img --address $(ADDRESS) $(if $(OUTLINE),--outline $(OUTLINE))

# What is slow, and has no target of its own.
slow: install
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile \
		--ignore=tests/operations --ignore=tests/flows/test_many_machines.py \
		--ignore=tests/model/training/test_compiled.py --ignore=tests/serving/page/test_shots.py

clusters: install
	$(BIN)/python -m pytest tests/flows/test_many_machines.py -m slow --numprocesses 0

# A run that is compiled, stopped and compiled anew: minutes for a C++ compiler.
compiled: install
	$(BIN)/python -m pytest tests/model/training/test_compiled.py -m slow --numprocesses 0

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: install
	$(BIN)/python -m hatchling build -t wheel

# What CI runs. The operations mostly wait, so they run beside the rest; the longest of them are left
# to `make operations`. Two faults once, at moments of this seed: an extraction is killed, and a
# checkpoint on its way. The second demo must find everything done.
CHECK_OPERATIONS := not minutes and not training_run and not generator and not chooses
CHECK_FAULTS := flow_is_killed and (extract or upload)

check: install
	@set -e; scratch=$$(mktemp -d); trap 'kill $$(jobs -p) 2>/dev/null || true; rm -rf "$$scratch"' EXIT; \
	export ICANVAS_STORE="$$scratch/store" PREFECT_HOME="$$scratch/prefect"; \
	$(MAKE) operations OPERATIONS="$(CHECK_OPERATIONS)" >"$$scratch/operations.log" 2>&1 & operations=$$!; \
	$(MAKE) lint; \
	$(MAKE) test; \
	$(MAKE) faults MOMENTS=1 PROCESSES=1 FAULTS="$(CHECK_FAULTS)"; \
	$(MAKE) demo TRAIN="--set epochs=2"; \
	$(MAKE) demo TRAIN="--set epochs=2"; \
	wait "$$operations" || { cat "$$scratch/operations.log"; exit 1; }; \
	tail -n 3 "$$scratch/operations.log"

# One resolution for every platform and Python, CUDA's packages included; uv asks for metadata only.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--upgrade --no-header --no-annotate --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV) .s3 .faults.jsonl dist

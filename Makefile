# raprune: `make study` and `make test` are all a fresh machine needs (Python 3.11 or newer, make).
#
#   make study      set up .venv, then run studies/quickstart.yaml
#   make test       set up .venv, then the test suite in three processes (9 to 13 minutes on two cores)
#   make test-all   also runs the long tests
#   make gpu        tests and benchmark of a GPU; writes what they measured into docs/gpu.md (some minutes on one card)
#   make fuzz       300 mutated study files and 150 mutated result files, through every command (half an hour)
#   make chaos      a study whose processes are killed and suspended, and machines that come and go (half an hour)
#   make check      lint, format, types and the code's shape; changes no file
#   make docs       build the docs site into build/site; a warning is an error
#
#   PYTHON=python3.12          another interpreter
#   TORCH="torch torchvision"  what to install as torch, such as one version, or --index-url for a CPU-only build;
#                              ignored if the interpreter already has torch and torchvision: those are kept

PYTHON ?= python3
TORCH ?= torch torchvision
BIN := .venv/bin

.PHONY: study test test-all gpu fuzz chaos check docs clean
.DEFAULT_GOAL := study

study: .venv/.installed
	$(BIN)/raprune study studies/quickstart.yaml

# Where the environment forbids bytecode, every process of the tests would compile all of raprune again.
TESTING := PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=

test: .venv/.installed-dev
	$(TESTING) $(BIN)/python -m pytest -n 3 --dist loadfile

test-all: .venv/.installed-dev
	$(TESTING) $(BIN)/python -m pytest -m "" -n 3 --dist loadfile

gpu: .venv/.installed-dev
	$(BIN)/python benchmarks/gpu.py --tests --write docs/gpu.md

fuzz: .venv/.installed-dev
	$(TESTING) $(BIN)/python -m pytest -m "" tests/fuzz

chaos: .venv/.installed-dev
	$(BIN)/python -m benchmarks.chaos
	$(BIN)/python -m benchmarks.chaos.three_nodes

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_shape.py

docs: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv

.venv/.installed: pyproject.toml
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" sh scripts/install.sh .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

# Every target sets up what it needs: a virtual environment in .venv, dependencies by pip.
PYTHON ?= python3
BIN := .venv/bin
# Two tests at a time, each on one thread. The one that is marked `alone` looks at the memory of the whole machine.
# Slow files begin in the order of their names, not shuffled: the pages' searches take long, and must not begin last.
TEST_PROCESSES ?= 2
test test-slow test-emulated: export OMP_NUM_THREADS ?= 1
# Without bytecode, each of the programs that tests start compiles the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-emulated lint docs clean

demo: .venv/installed
	$(BIN)/nas search experiments/digits.toml

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow" -n $(TEST_PROCESSES) --dist loadfile

test-slow: .venv/installed
	$(BIN)/python -m pytest -m "slow and not alone and not emulated" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --randomly-dont-reorganize
	$(BIN)/python -m pytest -m "slow and alone" tests/jobs

# A machine with another kind of processor, emulated: some GB of downloads and files, and a quarter of an hour.
test-emulated: .venv/installed
	$(BIN)/python -m pytest -m emulated -rs

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, but this is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

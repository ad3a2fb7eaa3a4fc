# `make demo` and `make test` install what they need into .venv on first use; a second call starts at once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check docs clean

demo: .venv/installed
	$(BIN)/python experiments/fig5_wireless.py --short

test: .venv/tools check docs
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m 'not slow'

test-all: test
	$(BIN)/python -m pytest --numprocesses auto --dist load -m slow

check: .venv/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/tools
	$(BIN)/mkdocs build --strict --quiet

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plots]'
	touch $@

.venv/tools: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plots,test,dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

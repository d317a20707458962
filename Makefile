# Two commands: `make compare` runs the line-up, `make test` runs the tests.
# Both make .venv first if it is missing or older than what it is made from.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: compare test lint conformance bench bench-gpu quality wheel clean

compare: $(READY)
	$(BIN)/python -m sklearn_nets compare

test: $(READY)
	$(BIN)/python -m pytest -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

conformance: $(READY)
	$(BIN)/python tests/conformance.py

bench: $(READY)
	$(BIN)/python -m benchmarks.run cpu

bench-gpu: $(READY)
	$(BIN)/python -m benchmarks.run gpu

quality: $(READY)
	$(BIN)/python -m benchmarks.quality

wheel: $(READY)
	$(BIN)/python -m build

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[vision,report,test,bench,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info

# Five verbs. Each sets up what it needs, on a fresh clone, in a virtual environment of its own (.venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Twice as many as cores: a test waits for databases and browsers about as long as it computes.
WORKERS := $(shell $(PYTHON) -c "import os; print(min(4, (os.cpu_count() or 2) * 2))")
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test test-flower test-models test-ray check bench docs clean

run: $(VENV)/.run  ## the whole loop on the README's brief; ONCE=1 ends by itself
	$(BIN)/arauto demo $(if $(ONCE),--once)

test: $(VENV)/.dev check  ## every test: scripted engines, real database, real browser
	$(BIN)/python tools/browser.py
	$(BIN)/python -m compileall -q arauto  # once, not in each of a few hundred processes where Python may not keep it
	$(BIN)/python -m pytest -m "not models and not ray" -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-fail-under=90

test-models: $(VENV)/.dev $(VENV)/.run  ## the tests that run the real embedded models
	$(BIN)/arauto models pull
	$(BIN)/python -m pytest -m models

test-flower: $(VENV)-flower/.dev  ## the bridge to Flower on the real one, in an environment of its own
	FLOWER=real $(VENV)-flower/bin/python -m pytest --noconftest -p no:cacheprovider -W default tests/federated/test_flower.py

test-ray: $(VENV)/.dev  ## the same functions on a real Ray, which takes half a minute to begin
	$(BIN)/python -m pytest -m ray

check: $(VENV)/.dev  ## style, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

bench: $(VENV)/.bench  ## speed and correctness under fire, against peers in the same run; writes bench/results/
	$(BIN)/python -m bench

docs: $(VENV)/.dev  ## takes minutes: screenshots and generated pages of docs/
	$(BIN)/python tools/browser.py
	$(BIN)/python tools/docs.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Arauto needs Python 3.11 or newer; set PYTHON=/path/to/one")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	@echo "To fetch, once: about 420 MB of packages into $(VENV); then a language model of 1,117 MB and a log of 1.4 MB."
	$(PIP) -e '.[local]'
	@touch $@

# torch is asked for by itself first: with its version given, pip takes the CPU build where the index offers one.
$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev $(VENV)/.run
	$(PIP) -e '.[bench,dev,local]'
	@touch $@

# Not by constraints.txt: Flower's upper bounds lie below it.
$(VENV)-flower/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)-flower
	$(VENV)-flower/bin/python -m pip install --quiet --disable-pip-version-check -e '.[flower]' pytest pytest-asyncio pytest-timeout
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-flower .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

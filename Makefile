# Two commands: `make demo` shows the main job, `make test` runs the tests. Both set up .venv first. `make slow` runs the
# tests that take long: on servers and Ray, with killed processes, the pages of the documentation. CI runs all of them.
# Python 3.11 or newer with pip is all they need; say PYTHON=python3.12 to choose one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT ?= demo

.PHONY: demo test slow lint bench clean

demo: $(VENV)/.demo
	$(BIN)/tunesmith compare examples/compare.yaml --out $(OUT)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src/tunesmith tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python benchmarks/throughput.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'tunesmith needs Python 3.11 or newer; say for instance: make PYTHON=python3.12 demo'; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  $(PYTHON) -m pip install --quiet --user virtualenv 2>/dev/null; $(PYTHON) -m virtualenv --quiet $(VENV) 2>/dev/null; } \
	  || { rm -rf $(VENV); echo 'Python has neither venv nor virtualenv here; on Debian and Ubuntu: apt-get install python3-venv'; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing tunesmith and what it needs into $(VENV) (PyTorch is large: a few minutes) ...'
	$(PIP) --editable '.[train,report]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing tunesmith, all of its extras and the test tools into $(VENV) (PyTorch is large: a few minutes) ...'
	$(PIP) --editable '.[train,report,pandas,optuna,postgresql,mysql,ray,dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two commands are all a newcomer needs: `make run` and `make test`. Python 3.11 to 3.13 and make are all they assume.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
TESTS :=
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: run test check bench clean

run: $(VENV)/.installed-run
	@$(BIN)/unmask up --sample assets/sample_real.mp4

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_import_direction.py tests/docs

bench: $(VENV)/.installed-run
	@$(BIN)/unmask bench

clean:
	rm -rf $(VENV) .unmask build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# pip says for itself what it downloads; the first time this takes a few minutes.
$(VENV)/.installed-run: pyproject.toml
	@echo "Setting up: about 1 GB of packages (more if pip takes PyTorch with CUDA), once. This takes a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-run
	@echo "Setting up the tools for tests and checks."
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[dev]"
	@touch $@

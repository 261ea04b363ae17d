SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
# Processes that test at once, each on a core of its own; each takes up to 2 GB of memory.
WORKERS ?= 2
DEMO := out/demo
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo station test test-torch test-inference test-fleet test-browser check bench clean help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.installed ## Install into .venv, learn from pictures of good solar cells, report on others
	$(BIN)/python -m nfbmr.benchmark.solar_cells mono $(DEMO)/solar_mono.csv
	$(BIN)/nfbmr fit $(DEMO)/solar_mono.csv -o $(DEMO)/model
	$(BIN)/nfbmr evaluate $(DEMO)/model $(DEMO)/solar_mono.csv -o $(DEMO)/report
	@echo
	@echo "Done. Open the report in a browser: $(CURDIR)/$(DEMO)/report/report.html"

station: .venv/.installed ## Put the demo's model on the line: http://127.0.0.1:8000 (after make demo)
	@test -d $(DEMO)/model || { echo "no model in $(DEMO)/model: run 'make demo' first" >&2; exit 1; }
	$(BIN)/nfbmr serve $(DEMO)/model --database sqlite:///$(DEMO)/station.db --pictures $(DEMO)/station-pictures

test: .venv/.installed .venv-inference/.installed ## Run the tests, those without torch in an environment of their own
	@$(MAKE) --no-print-directory --jobs=2 test-torch test-inference

test-torch: .venv/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# A model made where torch is, inspected where it is not, as on a line's computer.
test-inference: .venv/.installed .venv-inference/.installed
	rm -rf out/inference_only
	$(BIN)/python tests/inference_only/make_bundle.py out/inference_only
	NFBMR_LEFT=$(CURDIR)/out/inference_only .venv-inference/bin/python -m pytest \
	  --confcutdir tests/inference_only tests/inference_only

test-fleet: .venv/.installed ## Run the tests that start Ray: clusters on this machine, kills, an S3 server
	$(BIN)/python -m pytest -m fleet tests/fleet

test-browser: .venv/.installed ## Test the station's pages in Chromium (/usr/bin/chromium); pictures in out/browser
	$(BIN)/python -m pytest tests/browser

check: .venv/.installed test-inference ## Run the linter, the formatter's check, the type checker and the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

bench: .venv/.installed ## Measure the figures of the README (hours on a CPU)
	$(BIN)/python -m nfbmr.benchmark.figures
	$(BIN)/python -m nfbmr.benchmark.reading -o out/reading.jsonl

clean: ## Remove what the demo and the tools left; .venv and other results in out/ stay
	rm -rf $(DEMO) dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

.venv-inference/.installed: pyproject.toml constraints.txt
	@test -x .venv-inference/bin/python || "$(PYTHON)" -m venv .venv-inference
	@echo "Installing what inspects, without torch, into .venv-inference"
	@.venv-inference/bin/python -m pip install --quiet --upgrade pip
	@.venv-inference/bin/python -m pip install --quiet -c constraints.txt -e . pytest
	@touch $@

# One call of pip for everything, so that it chooses versions that fit together. Of its words only
# the downloads are shown; its warnings and errors go to standard error as they are.
.venv/.installed: pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "'$(PYTHON)' is not here: install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@echo "Installing into .venv; torch alone is a download of gigabytes, so this takes minutes"
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar off -c constraints.txt torch torchvision -e '.[dev]' \
	  | awk '/^ *(Downloading|Installing build|Installing collected)/ { print substr($$0, 1, 100); fflush() }'
	@touch $@
	@echo "Installed."

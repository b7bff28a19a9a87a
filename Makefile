# Everything is installed into .venv, at the versions of constraints.txt. Needs Python 3.11 or newer, with its venv module.
PYTHON ?= python3
PYTEST_ARGS ?=
N ?= 1000

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: help demo test test-qemu conformance fuzz docs code-bytes results-quantization lint clean

help:
	@echo "make demo        quantize, compile and emulate a small network for an nRF52840; all of it in out/demo"
	@echo "make test        all tests, without a C compiler of yours; arguments as PYTEST_ARGS='-k requantize'"
	@echo "make test-qemu   tests of what runs on an emulated Cortex-M55; needs qemu-system-arm, version 7 or later"
	@echo "make conformance every node case of ONNX, compiled and run; writes docs/conformance.md"
	@echo "make fuzz        mutants of small models through the compiler; how many and which as N=10000 SEED=1"
	@echo "make docs        write the documents that are generated from the code"
	@echo "make code-bytes  measure the bytes of code of every kernel anew, which choices within flash are estimated by"
	@echo "make results-quantization MODELS=dir DATA=dir   accuracy of quantized models, a row at a time; writes docs/results"
	@echo "make lint        ruff, mypy --strict and the import contracts"
	@echo "make clean       remove .venv, out and caches"

demo: .venv/.installed
	$(BIN)/microlith demo -o out/demo

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

test-qemu: .venv/.installed-dev
	$(BIN)/python -m pytest tests/qemu $(PYTEST_ARGS)

conformance: .venv/.installed-dev
	$(BIN)/python tests/conformance/run_all.py $(PYTEST_ARGS)

docs: .venv/.installed-dev
	$(BIN)/python tests/docs/operators_page.py
	$(BIN)/python tests/docs/passes_page.py

code-bytes: .venv/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m kernels.code_bytes

fuzz: .venv/.installed-dev
	PYTHONPATH=tests OPENBLAS_NUM_THREADS=1 $(BIN)/python -m fuzz --count $(N) --seed $(or $(SEED),0)

results-quantization: .venv/.installed-dev
	$(BIN)/python benchmarks/quantization_results.py --models $(MODELS) --data $(DATA)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps. One follows the other, so that two pips never write to .venv at once under `make -j`.
.venv/.created: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"microlith needs Python 3.11 or newer, and $(PYTHON) is {sys.version.split()[0]}: name another with make PYTHON=...")'
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) --upgrade pip
	@touch $@

.venv/.installed: .venv/.created pyproject.toml
	@echo "Installing (once, about 200 MB to download) ..."
	$(INSTALL) --build-constraint constraints.txt --editable '.[zig,mcu]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(INSTALL) --build-constraint constraints.txt --editable '.[zig,mcu,runtimes,train]' --group dev
	@touch $@

# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
EXPERIMENT ?= rrnet.yml
RESUME ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

.PHONY: run serve test test-all csim lint docs clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[search,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps hls4ml  # for its ap_types headers
	touch $@

run: $(INSTALLED)
	$(BIN)/rrnet run $(EXPERIMENT) $(if $(RESUME),--resume $(RESUME))

# Two servers with the network that `make run` found, and a page to draw on; or with BUILD=build/.
serve: $(INSTALLED)
	$(BIN)/rrnet-2pc-serve digits=$(or $(BUILD),runs/latest/build) --protocol masked

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .lint .setuptools
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target .lint .
	cd .lint && ../$(BIN)/python -m mypy --config-file ../pyproject.toml
	cd .lint && PYTHONPATH=. ../$(BIN)/lint-imports ../pyproject.toml

# The site of docs/ in build/site, warnings as errors.
docs: $(INSTALLED)
	rm -rf .lint .setuptools
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target .lint .
	$(BIN)/python docs/tables.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Every check, the long ones in their small form.
test: $(INSTALLED) lint
	$(PYTEST) -m "not slow"

# Every check in its long form too: about an hour.
test-all: $(INSTALLED) lint
	$(PYTEST)

# The accelerator under a C++ compiler beside the software parties, word for word; or one build:
# make csim BUILD=build/ INPUT=x.npy
csim: $(INSTALLED)
	$(if $(BUILD)$(INPUT),$(MAKE) -C fpga/hls csim PYTHON=$(abspath $(BIN)/python) BUILD=$(abspath $(BUILD)) \
		INPUT=$(abspath $(INPUT)),$(BIN)/python benchmarks/hardware/accelerator_simulation.py)

clean:
	rm -rf $(VENV) .lint .setuptools build runs .pytest_cache .mypy_cache .ruff_cache

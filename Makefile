# One verb, one command, the same here and in CI. A fresh machine needs Python 3.11 with pip and venv.
PYTHON ?= python3
UV_VERSION := 0.13.8
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
UV := .uv/bin/uv
READY := .venv/.ready
BIN := .venv/bin
# twice as many test processes as cores: many tests wait for the processes that they started
TESTERS ?= $(shell $(PYTHON) -c 'import os; print(2 * min(os.cpu_count(), 8))')
# our own modules are compiled once, not in each of the many processes of a test run
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint format bench bench-train bench-gpu bench-samplers bench-suggestions bench-priors pins clean

help:  ## what each command does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION)

$(READY): pyproject.toml $(UV)
	$(UV) sync --quiet --all-extras --compile-bytecode --python $(PYTHON)
	@touch $@

demo: $(READY)  ## a real sweep on handwritten digits, and its report (about a minute)
	rm -rf demo-out && mkdir demo-out
	$(BIN)/rdsweep run examples/digits.toml --storage sqlite:///demo-out/rdsweep.db --out demo-out/report

test: $(READY)  ## all tests
	$(BIN)/pytest -n $(TESTERS) --dist worksteal

lint: $(READY)  ## ruff, mypy (strict), import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## let ruff write the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# where torchvision's MNIST lies: make bench MNIST=/data
MNIST ?= $(firstword $(wildcard ../shared/data/mnist10k) data)

bench: $(READY)  ## overhead, start-up, report time, and the ratio to a plain loop (four minutes)
	$(BIN)/python benchmarks/overhead.py --mnist $(MNIST)
	$(BIN)/python benchmarks/training.py --mnist $(MNIST) --case mlp --epochs 20 --repeats 1 \
	    --only hand_tensors ours_full --processes 1 --threads 0

# what other people's loops need, beside the usual environment
READY_TO_COMPARE := .venv/.ready-to-compare
$(READY_TO_COMPARE): $(READY)
	$(UV) sync --quiet --all-extras --group bench --compile-bytecode --python $(PYTHON)
	@touch $@

# less of it: make bench-train BENCH="--case mlp --only hand ours --repeats 1"
BENCH ?=

bench-train: $(READY_TO_COMPARE)  ## trials per hour against other loops and pythae (two hours)
	$(BIN)/python benchmarks/training.py --mnist $(MNIST) $(BENCH)

bench-gpu: $(READY_TO_COMPARE)  ## the same on a GPU, and the cost of a trial against the size of its pack
	$(BIN)/python benchmarks/training.py --device cuda --mnist $(MNIST) $(BENCH)

bench-samplers: $(READY)  ## which sampler finds the front soonest (ten minutes)
	$(BIN)/python benchmarks/samplers.py

bench-suggestions: $(READY)  ## suggestions per second, many workers, against plain study.optimize
	$(BIN)/python benchmarks/suggestions.py

bench-priors: $(READY)  ## what each prior and posterior reaches on digits (the table of docs/priors.md)
	$(BIN)/python benchmarks/priors.py

pins: $(UV)  ## newest versions into [tool.uv] constraint-dependencies
	$(PYTHON) .ci/pins.py

clean:  ## forget the environment
	rm -rf .venv .uv

# make demo   install, run the sweep quickstart on a made-up cohort, end with its answer and what to type next
# make test   install, run the tests
# make docs   install, build the docs as a site, end with the path of its first page
PYTHON ?= python3.11
VENV   ?= .venv
JOBS   ?= 2
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo docs test test-slow lint format bench clean

demo: $(STAMP)
	$(BIN)/medsweep demo

# In the order of the folders, since files with few and long tests would else come last, on one worker.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

docs: $(STAMP)
	$(BIN)/python -m tools.docs_site --out site

test-slow: $(STAMP)
	$(BIN)/pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/orchestration.py
	$(BIN)/python benchmarks/orchestration.py --scale 100 1000 10000
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/scheduling.py
	$(BIN)/python benchmarks/sharing.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/stylegan2.py
	$(BIN)/python benchmarks/segmentation.py
	$(BIN)/python benchmarks/assessment.py
	$(BIN)/python benchmarks/statistical_tests.py
	$(BIN)/python benchmarks/error_rates.py

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) store results

# make quickstart   set everything up and run the main job on the embedded testbed
# make test         set everything up and pass the tests
# make check        linters and types
# make test-oracle  compare with llm-compressor and hqq, in an environment of its own
# make bench        measure, as ratios to named alternatives (tests/benchmarks/README.md)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-oracle check bench
.DELETE_ON_ERROR:

quickstart: .venv/ready
	$(BIN)/rayci run trials/specs/quickstart.yaml

# Tests that start Ray wait most of their time: they run beside the rest, and their output follows it.
WITH_RAY := tests/trials tests/end_to_end

test: .venv/ready
	@$(BIN)/pytest $(WITH_RAY) >.with-ray.log 2>&1 & with_ray=$$!; \
	trap 'kill $$with_ray 2>/dev/null' INT TERM; \
	$(BIN)/pytest $(WITH_RAY:%=--ignore=%); rest=$$?; \
	wait $$with_ray; with_ray=$$?; cat .with-ray.log; exit $$((rest | with_ray))

check: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p rayci

test-oracle: .venv/ready .venv-oracle/ready
	$(BIN)/pytest tests/oracle -m oracle

bench: .venv/ready
	$(BIN)/pytest tests/benchmarks -m bench --capture=no

.venv/ready: requirements.lock pyproject.toml
	@echo "Setting up .venv once: some gigabytes with torch among them, minutes on a slow line. pip says how far it is."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

.venv-oracle/ready: tests/oracle/requirements.txt
	$(PYTHON) -m venv .venv-oracle
	.venv-oracle/bin/pip install --disable-pip-version-check -r tests/oracle/requirements.txt
	touch $@

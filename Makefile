# Everything is set up in .venv by the first target that needs it; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes: each would compile all modules again where the environment forbids to keep them compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: bench test lint reference verification pages hunt alarms mutation clean

bench: .venv/installed
	$(BIN)/bench run quick

test: .venv/installed
	$(BIN)/pytest -n auto

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# A page for each protocol, from its docstring, its conditions, a metered run and its cost formula.
pages: .venv/installed
	$(BIN)/python -m protocols.testing.pages protocols/secure_sum/pages

# Plants every known bug into the code, one at a time, and has the suite find it.
hunt: .venv/installed
	$(BIN)/python -m tests.meta.hunt

# Counts the false alarms of the quickest tests that find all of these bugs, in 1,000 runs on the correct code.
alarms: .venv/installed
	$(BIN)/python -m tests.meta.clean

# Changes the core at random, and has its tests find the changes; reports/mutation.md explains what they do not find.
mutation: .venv/installed
	$(BIN)/pip install --quiet cosmic-ray==8.7.0
	$(BIN)/python -m tests.meta.mutate --sample 400 --seed 1

# The committed verification report is this command's output: protocol x invariant, and the other parts' tests.
verification: .venv/installed
	HYPOTHESIS_PROFILE=dev $(BIN)/pytest -n auto \
		$(addprefix tests/properties/test_,invariants.py statistic_invariants.py) \
		$(addprefix tests/properties/test_,clustering.py clustering_policies.py churn.py disclosure.py) \
		$(addprefix tests/properties/test_,aggregators.py beacons.py privacy.py robust_norms.py) \
		$(addprefix tests/properties/test_,robust_secrecy.py range_secrecy.py) \
		tests/units/test_round.py tests/units/test_tolerance_engines.py \
		--verification-report reports/verification

# The committed reference report is this command's output, less the rows and all but two figures.
reference: .venv/installed
	rm -rf reports/reference-run
	$(BIN)/bench run quick --out reports/reference-run
	mkdir -p reports/reference/figures
	cp reports/reference-run/results.csv reports/reference-run/experiment.toml reports/reference-run/environment.json reports/reference/
	cp reports/reference-run/figures/accuracy-by-attack.png reports/reference-run/figures/accuracy-by-epsilon.png reports/reference/figures/
	rm -rf reports/reference-run

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cloister needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info

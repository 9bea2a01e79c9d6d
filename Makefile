# Everything a newcomer needs: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PAGE   := autopay/api/page/static/built-from

# Hundreds of processes are started by tests and demo: each would compile every module anew where this is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: licences sbom audit demo test simulate chaos messages bench bench-scale bench-endurance bench-ledger bench-growth bench-agents histories check format dist lock clean help

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(READY) $(PAGE) ## run the main job on the embedded stack, and watch it
	@$(BIN)/autopay demo $(ARGS)

test: $(READY) $(PAGE) ## run every test
	@$(BIN)/python -m pytest -n 4 --dist loadfile --max-worker-restart 2 --durations=20 $(ARGS)

simulate: $(READY) ## run SEEDS simulated worlds of payments among faults
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) $(ARGS)

chaos: $(READY)  ## run payments on the real stack among kill -9 and bad weather (ARGS="--requests 300 --kills 30")
	@$(BIN)/python -m tests.chaos $(ARGS)

messages: $(READY) ## any message at any await of the workflows, in STORIES stories of each (20 in `make test`)
	@AUTOPAY_MESSAGES=$(or $(STORIES),1000) $(BIN)/python -m pytest -q --timeout 7200 \
		tests/workflow/any_message $(ARGS)

bench: $(READY)  ## what a paid request costs, beside other buyers and the least it can (ARGS="--scale 0.1")
	@$(BIN)/python -m benchmarks.payments $(ARGS)

bench-scale: $(READY) ## payments a second with 1, 2 and 4 workers and 1, 10 and 200 agents (ARGS="--agents 10")
	@$(BIN)/python -m benchmarks.payments.scale $(ARGS)

bench-endurance: $(READY) ## memory and disk over 20,000 purchases (ARGS="--requests 4000")
	@$(BIN)/python -m benchmarks.payments.endurance $(ARGS)

bench-ledger: $(READY) ## how fast the ledger reads at a million payments (ARGS="--rows 100000")
	@$(BIN)/python -m benchmarks.ledger $(ARGS)

bench-growth: $(READY) ## what a payment costs the ledger at 10 thousand and a million (ARGS="--rows 1000000 5000000")
	@$(BIN)/python -m benchmarks.ledger_growth $(ARGS)

bench-agents: $(READY) ## what 200 agents cost on this machine, in eight minutes (ARGS="--agents 20 --every 10")
	@$(BIN)/python -m benchmarks.agents $(ARGS)

histories: $(READY) ## record this release's workflow histories in tests/histories, once, when it is released
	@AUTOPAY_RECORD_HISTORIES=tests/histories/$$($(BIN)/python -c "from importlib.metadata import version; print(version('autopay'))") \
		$(BIN)/python -m pytest -q tests/workflow --ignore tests/workflow/test_golden_histories.py $(ARGS)

check: $(READY)  ## lint, format check and types, as CI does
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE := $(BIN)/pip-compile -q --upgrade --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --no-header --strip-extras

dist: $(READY) $(PAGE) ## build the wheel and the source distribution, into dist/
	@$(BIN)/python -m build -q --no-isolation

lock: $(READY)   ## pin every dependency again, with hashes and without naming an index
	@$(COMPILE) --extra localnet --extra mcp --extra api --extra dev --output-file requirements.lock pyproject.toml
	@$(COMPILE) --extra api --no-annotate --constraint requirements.lock --output-file requirements-worker.lock pyproject.toml

licences: $(READY) ## write docs/licences.md: the licences of what the image installs
	@$(BIN)/python deploy/licences.py > docs/licences.md

TOOLS := $(VENV)/security
$(TOOLS)/.ready: Makefile
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -q --disable-pip-version-check cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

sbom: $(TOOLS)/.ready ## write dist/autopay.cdx.json: what the image installs, as a CycloneDX bill of materials
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py requirements requirements-worker.lock --pyproject pyproject.toml \
		--output-reproducible --output-file dist/autopay.cdx.json
	@echo wrote dist/autopay.cdx.json

audit: $(TOOLS)/.ready ## ask an advisory service for known vulnerabilities of what is locked (ARGS="--vulnerability-service osv")
	@$(TOOLS)/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements-worker.lock $(ARGS)

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (once; about half a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit("Autopay needs Python 3.11 or newer; set PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# The page's scripts and styles. What is built of them is not in the repository; without it everything else works.
$(PAGE): $(READY) $(shell find web/src -type f) web/build.py web/package.json web/package-lock.json web/build.mjs
	@$(BIN)/python web/build.py || true

clean:           ## remove the environment and the embedded stack's state
	rm -rf $(VENV) .autopay build dist web/node_modules $(dir $(PAGE)) *.egg-info .pytest_cache .mypy_cache .ruff_cache

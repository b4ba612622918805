# Two commands for a newcomer: `make serve` runs the mirror, `make test` shows that it works.
# Each sets up what it needs and does so once; nothing outside this folder is changed, but that
# `make test`, as root on Debian, installs the real programs that it tests against.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LISTEN ?= 127.0.0.1:5050
STORE  ?= .cache/store
KILLS  ?= 1000
MINUTES ?= 10
SECONDS ?= 60
TIMES ?= 20
ROWS   := tests/faults/test_rows_*.py tests/faults/test_plain_clients.py tests/faults/test_dead_first_host.py tests/abuse
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Where the fast tests write: memory, if there is plenty. What a disk does is tested by the others.
ROOM   := $(shell test "$$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 2000000 2>/dev/null && echo /dev/shm)

.PHONY: serve test check fast-unit fast-contract peers rows soak fuzz bench lock clean

serve: $(VENV)/.run            ## run the mirror: make serve LISTEN=127.0.0.1:5050 STORE=DIR
	$(BIN)/sampan serve --listen $(LISTEN) --store $(STORE)

test: check peers              ## everything, real programs included
	$(BIN)/python -m pytest -q -n 2 tests/property tests/command tests/abuse tests/fuzz
	$(BIN)/python -m pytest -q -n 2 -m hypothesis tests/unit
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/state tests/faults tests/interop

check: $(VENV)/.test           ## the quick part: style, types, layers, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target fast-unit fast-contract

# Two processes of pytest, and not one that hands out tests: each looks through its own half alone.
fast-unit: HALF := tests/unit tests/docs
fast-contract: HALF := tests/contract
fast-unit fast-contract:
	PYTEST_DEBUG_TEMPROOT=$(ROOM) $(BIN)/python -m pytest -q --timeout 60 --hypothesis-profile quick $(HALF)

peers: $(VENV)/.test           ## the programs that the tests run against
	$(BIN)/python tests/interop/peers.py install
	$(BIN)/python tests/interop/airflows.py install

rows: $(VENV)/.test            ## the catalogue of faults and abuses, again and again: make rows TIMES=20
	for time in $$(seq $(TIMES)); do $(BIN)/python -m pytest -q -n 2 $(ROWS) || exit 1; done

soak: peers                    ## for hours: 1,000 kills, power lost at every instant, 1,000 clients for 10 minutes
	SOAK_KILLS=$(KILLS) SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest -q -s tests/soak

fuzz: $(VENV)/.test            ## each parser, for so long: make fuzz SECONDS=60
	$(BIN)/python tests/fuzz/runner.py --seconds $(SECONDS)

bench: $(VENV)/.test           ## ratios against real peers, in one run
	$(BIN)/python tests/interop/peers.py install bench
	$(BIN)/python -m bench

lock:                          ## write the locks anew (hashes, no addresses)
	cd requirements && for part in run build test airflow-2 airflow-3; do \
	  pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o $$part.txt $$part.in; done

clean:
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: $(VENV)/.run requirements/test.txt
	$(PIP) --require-hashes -r requirements/test.txt
	touch $@

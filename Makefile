# LoRA Studio. `make run` is all a fresh machine needs; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
RUN := .venv/bin/python
TEST := .venv-test/bin/python
BENCH := .venv-bench/bin/python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11) and "LoRA Studio needs Python 3.11 or newer; choose one with PYTHON=...")

.DEFAULT_GOAL := help
.PHONY: help run demo test faults methods states bench clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## */  make \1\t/p' $(MAKEFILE_LIST)

run: .venv/ready  ## install what is missing, start the studio, open the browser
	@$(RUN) app.py

demo: .venv/ready  ## fine-tune and compare in the terminal, without a browser
	@$(RUN) app.py demo

test: .venv-test/ready  ## linters, types and all tests, in an environment of their own
	$(TEST) -m ruff check .
	$(TEST) -m ruff format --check .
	$(TEST) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

faults: .venv-test/ready  ## break runs on purpose, hundreds of times, and write the counts into docs/reliability.md
	$(TEST) -m tests.faults

methods: .venv-test/ready  ## measure every method on every architecture and write the table of docs/methods.md
	$(TEST) -m tests.methods_table

states: .venv-test/ready  ## draw the states of a job and the ways between them into docs/states.md
	$(TEST) -m tests.states_diagram

bench: .venv-bench/ready  ## measure side by side with PEFT + Trainer and TRL, and write docs/benchmarks.md
	$(BENCH) -m benchmarks

clean:  ## remove the environments and caches; data folders stay
	rm -rf .venv .venv-test .venv-bench .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are made last, so that an installation that was interrupted begins again.
.venv/ready: requirements.txt
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	@echo 'Installing what LoRA Studio needs into .venv; this takes some minutes, once.'
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install --quiet --upgrade 'pip>=25'
	$(RUN) -m pip install -r requirements.txt
	@touch $@

.venv-test/ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv .venv-test
	$(TEST) -m pip install --quiet --upgrade 'pip>=25'
	$(TEST) -m pip install --quiet -r requirements-dev.txt
	@touch $@

.venv-bench/ready: requirements.txt requirements-bench.txt
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv .venv-bench
	$(BENCH) -m pip install --quiet --upgrade 'pip>=25'
	$(BENCH) -m pip install --quiet -r requirements-bench.txt
	@touch $@

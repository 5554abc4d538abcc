# Everything sets itself up: a .venv with uv where it is there, with venv and pip where not.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-lake test-ui ui lint lock mutants docs pictures bench
demo: $(STAMP)
	$(BIN)/icontact-assets demo

# Whatever the environment says, code is compiled once, not by each of the processes that tests start.
test: $(STAMP)
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2

# What runs on a DuckLake, or needs another server. The tests start PostgreSQL, Redis and the rest themselves.
test-lake: .venv-lake/.installed
	PYTHONDONTWRITEBYTECODE= .venv-lake/bin/pytest -n 2 -m lake

# The first hour of a user in Dagster's UI, in a real browser: needs Chromium.
test-ui: $(STAMP)
	$(BIN)/pytest icontact_assets_tests/browser

# The pictures of the docs, by that test.
pictures: $(STAMP)
	ICONTACT_ASSETS_PICTURES=docs/pictures $(BIN)/pytest icontact_assets_tests/browser

ui: $(STAMP)
	$(BIN)/icontact-assets demo --ui $(if $(PORT),--port $(PORT))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

# Not among the locked requirements: nothing else needs it.
mutants: $(STAMP)
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python "mutmut>=3.8,<4"; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check "mutmut>=3.8,<4"; fi
	$(BIN)/mutmut run
	$(BIN)/mutmut results

# In an environment of its own, for the same reason. The site is in site/, and a link that leads nowhere is an error.
docs: .venv-docs/.installed
	.venv-docs/bin/zensical build --clean --strict

.venv-%/.installed: requirements-%.lock
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing $(@D) && uv pip install --quiet --python $(@D)/bin/python -r $<; \
	else \
		$(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<; \
	fi
	@touch $@

# dlt and py-spy are in an environment of their own too. `make bench CASE=extract` measures one case, FULL=1 the full sizes.
bench: $(STAMP) .venv-bench/.installed
	$(BIN)/python -m benchmarks $(CASE) $(if $(FULL),--full) $(if $(RUNS),--runs $(RUNS)) $(if $(WRITE),--write) $(if $(CHECK),--check)

lock:
	uv pip compile pyproject.toml --extra dev --extra dg --extra sandbox --universal --no-header --no-annotate --python-version 3.11 -o requirements.lock
	uv pip compile pyproject.toml --extra dev --extra dg --extra sandbox --extra lake --group lake --universal --no-header --no-annotate --python-version 3.11 -o requirements-lake.lock
	uv pip compile --group docs --universal --no-header --no-annotate --python-version 3.11 -o requirements-docs.lock
	uv pip compile --group bench --universal --no-header --no-annotate --python-version 3.11 -o requirements-bench.lock

$(STAMP): requirements.lock
.venv-lake/.installed: requirements-lake.lock
$(STAMP) .venv-lake/.installed: pyproject.toml setup.cfg
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing $(@D) && uv pip install --quiet --python $(@D)/bin/python -r $(filter %.lock,$^) && \
		uv pip install --quiet --python $(@D)/bin/python --no-deps -e .; \
	else \
		$(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $(filter %.lock,$^) && \
		$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $@

# What developers do: `make` tells. All of it runs in the virtual environment of the README.
bin := .venv/bin

.PHONY: help test test-fast test-sql test-thorough test-latest test-lowest lint docs \
	constraints freeze bench
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

test: ## run all tests, on all cores
	$(bin)/pytest -q -n auto

test-fast: ## run the tests that take no long time
	$(bin)/pytest -q -n auto -m "not slow"

test-sql: ## run the tests of SQL on PostgreSQL 14 to 18 (fetches some with npm into /tmp)
	servers=$$($(bin)/python tools/postgresql.py /tmp/imgdb-servers 14 15 16 17) && \
		IMGDB_TEST_SERVERS=$$servers $(bin)/pytest -q -n auto -m sql

test-thorough: ## run all tests with 40 times as many examples
	IMGDB_TEST_PROFILE=thorough $(bin)/pytest -q -n auto -o timeout=3600

test-latest: ## run the tests with the latest versions of all dependencies, in .venv-latest
	python3 -m venv .venv-latest
	.venv-latest/bin/pip install -q -U --upgrade-strategy eager -e '.[heif,test]'
	.venv-latest/bin/pytest -q -n auto

test-lowest: ## run the tests with the lowest versions of all dependencies, in .venv-lowest
	python3 -m venv .venv-lowest
	.venv-lowest/bin/pip install -q uv
	.venv-lowest/bin/uv pip install -q --python .venv-lowest/bin/python \
		--resolution lowest-direct -e '.[heif,test]'
	.venv-lowest/bin/pytest -q -n auto

lint: ## check style, types, layers and SQL
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/lint-imports
	$(bin)/mypy
	$(bin)/sqlfluff lint --disable-progress-bar sql migrations

docs: ## make the pages that programs make
	$(bin)/python docs/make_cli.py
	$(bin)/python docs/run_examples.py

constraints: ## note the versions that .venv has for .ci/run
	{ sed -n '/^#/p' constraints.txt; $(bin)/pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

freeze: ## hold the revisions of a release still
	$(bin)/python tools/freeze.py

bench: ## measure searches and render docs/benchmarks.md: twenty minutes
	$(bin)/pip install -q -e '.[bench]'
	$(bin)/python -m benchmarks.search
	$(bin)/python -m benchmarks.render

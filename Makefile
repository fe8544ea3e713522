# make run: the quickstart · make test: everything that must hold · the rest are parts of it.
# Each target installs what it needs (scripts/setup), so that a fresh clone works at once.

PYTHON_IN_VENV = .venv/bin/python
# Hundreds of processes are started that import the same modules, and each test process rewrites the same asserts: where
# the environment forbids bytecode, that alone would be a third of the time. Empty, Python takes it for unset.
export PYTHONDONTWRITEBYTECODE =
# Most tests wait for processes: four files beside each other take a third of the time on two cores, and the soak needs
# little of them. A file's tests stay together, and the files are taken in the order that tests/order.py gives them.
BESIDE = -n 4 --dist loadfile --no-loadscope-reorder

# What runs once more as plain Python: the tests of all that is compiled. What only rules that ask other servers need is
# not, nor what is run as plain Python anyhow.
UNCOMPILED = services store_faults remote_caches limits pages programs logins drill lookup alarms rule_services
OF_COMPILED = tests/protocol tests/worker tests/balancers/test_wrr.py tests/model/test_slot.py tests/model/test_tallies.py \
	tests/rules/test_table.py tests/rules/test_exchange.py tests/rules/test_flow.py \
	$(UNCOMPILED:%=--ignore=tests/worker/test_%.py)

TESTS = $(PYTHON_IN_VENV) -m pytest $(BESIDE)
# Processes that starve beside each other can miss a deadline: a test that fails is run once more, alone, and must pass.
# More than a few such tests are no accident.
AGAIN = $(PYTHON_IN_VENV) scripts/again.py

.PHONY: run test check bench bench-quick soak fuzz-rules scale docs coverage clean

run:
	@scripts/setup run
	@exec $(PYTHON_IN_VENV) conf/quickstart/run.py

test: check
	@scripts/setup test
	$(TESTS) || $(AGAIN)
	UWSGIROUTER_PURE=1 $(TESTS) $(OF_COMPILED) || UWSGIROUTER_PURE=1 $(AGAIN)

check:
	@scripts/setup check
	$(PYTHON_IN_VENV) -m ruff format --check
	$(PYTHON_IN_VENV) -m ruff check
	$(PYTHON_IN_VENV) -m mypy
	$(PYTHON_IN_VENV) scripts/options_page.py --check
	$(PYTHON_IN_VENV) -m scripts.man --check

# All figures, some 15 minutes; drawn into docs/benchmarks.md.
bench:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m scripts.bench --draw

# What a change may not worsen, in less than a minute: exit status 1 when it did.
bench-quick:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m scripts.bench --quick

# Mixed traffic, trouble on purpose, invariants checked all the time (docs/soak.md). Exit status 1 when it found anything.
MINUTES = 30
soak:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m scripts.soak --minutes $(MINUTES)

# Random tables of rules, here and in uWSGI; exit status 1 and the smallest table when they differ.
SECONDS = 120
fuzz-rules:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m scripts.fuzz_rules --seconds $(SECONDS)

scale:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m scripts.scale

# What is generated (the page of options, the man pages), then the site: site/index.html.
docs:
	@scripts/setup docs
	$(PYTHON_IN_VENV) scripts/options_page.py
	$(PYTHON_IN_VENV) -m scripts.man
	NO_MKDOCS_2_WARNING=1 $(PYTHON_IN_VENV) -m mkdocs build --strict

# The master and its workers are measured too: see [coverage:run] in setup.cfg. Compiled modules cannot be, and what
# measures gevent imports it, so the test that nobody does is left out.
coverage:
	@scripts/setup test
	$(PYTHON_IN_VENV) -m coverage erase
	UWSGIROUTER_PURE=1 $(PYTHON_IN_VENV) -m coverage run -m pytest \
		--deselect tests/test_cli.py::test_check_imports_neither_the_master_nor_gevent
	$(PYTHON_IN_VENV) -m coverage combine --quiet
	$(PYTHON_IN_VENV) -m coverage report

clean:
	find uwsgirouter -name '*.so' -delete
	rm -rf uwsgirouter/compiled.json .venv build dist site ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

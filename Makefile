# All tasks of the project. `make` alone lists them; each installs what it needs into .venv.

PYTHON ?= python3
# uv is used if it is installed; `make UV= …` forces pip.
UV     := $(shell command -v uv 2>/dev/null)
CARGO  ?= cargo
# Test processes; the tests themselves use several threads.
JOBS   ?= auto
# Seconds that `make fuzz` takes; an hour before a release.
FUZZ_SECONDS ?= 60
# A process of tests gets one thread for linear algebra: those of several processes wait for each other, spinning.
ONE    := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Arguments for pytest, for instance `make test ARGS="tests/random -k gamma"`.
ARGS   ?=

# The Cargo profile of the package that is built, tested and shown: quick, release or dist. They give
# the same bits; `quick` is the cheapest to build, and `make dist-check` builds what is shipped.
PROFILE ?= quick

VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.stamp
BUILT  := $(STAMP)-built-$(PROFILE)
LOCKED := $(if $(CI),--locked)
PIP    := $(if $(UV),$(UV) pip install --quiet --python $(PY),$(PY) -m pip install --quiet --disable-pip-version-check)
# An active conda environment would compete with .venv.
MATURIN := env -u CONDA_PREFIX VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(VENV)/bin/maturin
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
BENCHES := $(wildcard benches/*/bench*.py)
RUFF_PATHS := $(wildcard python tests benches docs/conf.py docs/_ext docs/_static docs/gallery examples fuzz rust/*/tools)
TORCH_TESTS = $(shell grep -rlE --include='test_*.py' 'pytest\.mark\.torch|^from forms import' tests 2>/dev/null)

export MPLBACKEND := Agg
export PYO3_PYTHON := $(CURDIR)/$(PY)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help dev build demo demo-torch test test-torch check check-rust check-python bench bench-smoke \
	test-bridges test-cluster calibrate docs readme wheel fuzz fuzz-processes miri asan audit sdist dist-check fmt clean \
	need-cargo need-python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: $(STAMP)-built-quick ## Build the Rust crates (quick profile) and install fermiac into .venv, editable

build: $(BUILT) ## The same in the profile PROFILE, by default quick

demo: $(BUILT) $(STAMP)-plot $(STAMP)-progress $(STAMP)-demo ## Run the worked examples; a page with tables and pictures goes to demo/
	$(PY) examples/demo.py --out demo

demo-torch: $(BUILT) $(STAMP)-torch ## The same with PyTorch (3 GB), which it installs: a network learns digits, too
	$(MAKE) --no-print-directory demo

test: $(BUILT) $(STAMP)-test $(STAMP)-arviz $(STAMP)-plot $(STAMP)-progress ## Run the Python tests (without those that need PyTorch)
	$(ONE) $(PY) -m pytest -m "not torch and not bridges and not cluster and not calibration" -n $(JOBS) $(ARGS)

test-torch: $(BUILT) $(STAMP)-test ## Run the tests that need PyTorch, and install it if there are any
	@if [ -z "$(TORCH_TESTS)" ]; then \
		echo "test-torch: no test is marked torch, so PyTorch is not installed"; \
	else \
		$(MAKE) --no-print-directory $(STAMP)-torch && \
		$(ONE) $(PY) -m pytest -m torch -n $(JOBS) $(ARGS) $(TORCH_TESTS); \
	fi

# The libraries whose models fermiac takes have many requirements: they get an environment of their own.
BRIDGES := .venv-bridges
$(BRIDGES)/.stamp: pyproject.toml | need-python
	$(if $(UV),$(UV) venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(BRIDGES),$(PYTHON) -m venv --clear $(BRIDGES))
	@$(BRIDGES)/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		extras = project["optional-dependencies"]; \
		print(*project["dependencies"], *(r for e in ("pymc", "jax", "bridges") for r in extras[e]), sep="\n")' \
		> $(BRIDGES)/requirements.txt
	$(subst $(PY),$(BRIDGES)/bin/python,$(PIP)) -r $(BRIDGES)/requirements.txt
	@touch $@

test-bridges: $(BUILT) $(BRIDGES)/.stamp ## Run the tests with models of PyMC, Stan's interface, NumPyro and JAX
	$(ONE) PYTHONPATH=python $(BRIDGES)/bin/python -m pytest -q -m bridges -n $(JOBS) tests/bridges $(ARGS)

# So do the engines of executors, each of which is optional.
CLUSTER := .venv-cluster
$(CLUSTER)/.stamp: pyproject.toml | need-python
	$(if $(UV),$(UV) venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(CLUSTER),$(PYTHON) -m venv --clear $(CLUSTER))
	@$(CLUSTER)/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["dependencies"], *project["optional-dependencies"]["cluster"], sep="\n")' \
		> $(CLUSTER)/requirements.txt
	$(subst $(PY),$(CLUSTER)/bin/python,$(PIP)) -r $(CLUSTER)/requirements.txt
	@touch $@

# Engines leave files and sockets to the collector. Other tests need other packages to be collected.
test-cluster: $(BUILT) $(CLUSTER)/.stamp ## Run the tests with dask, Ray, MPI, Parsl and other engines, on this machine
	PYTHONPATH=python $(CLUSTER)/bin/python -m pytest -q -m cluster -p no:unraisableexception \
		tests/runs/test_clusters.py $(ARGS)

check: check-rust check-python ## Everything that must pass before a change is merged
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-torch
	$(MAKE) --no-print-directory test-bridges
	$(MAKE) --no-print-directory test-cluster

check-rust: $(STAMP)-venv ## Format, lints, documentation and tests of the Rust crates
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --workspace --exclude fermiac-py --no-deps --quiet
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run $(LOCKED) --workspace --exclude fermiac-py $(if $(CI),--profile ci)
else
	$(CARGO) test $(LOCKED) --workspace --exclude fermiac-py --lib --tests
endif
	$(CARGO) test $(LOCKED) --workspace --exclude fermiac-py --doc --quiet

check-python: $(BUILT) $(STAMP)-dev $(STAMP)-plot ## Lints, format, types and stubs of the Python package
	$(PY) -m ruff check $(RUFF_PATHS)
	$(PY) -m ruff format --check $(RUFF_PATHS)
	$(PY) -m mypy --strict python/fermiac
	$(PY) tests/support/stubtest.py

bench: $(STAMP)-built-dist $(STAMP)-test $(STAMP)-bench ## Measure speed and accuracy against other implementations
	$(PY) -m pytest -p benchmark --timeout 0 --benchmark-columns min,median,stddev,rounds \
		--benchmark-sort name --benchmark-autosave $(BENCHES) $(ARGS)

calibrate: $(BUILT) $(STAMP)-test ## Compare errors and coverage with the truth, for hours; tables go to docs/
	$(ONE) $(PY) -m pytest -m calibration -n $(JOBS)
	$(PY) -m benches.walks.calibrate --out docs/calibration-walks.md
	$(PY) -m benches.mcmc.multiscale --out docs/calibration-multiscale.md
	$(PY) -m benches.mcmc.modes --out docs/calibration-modes.md
	$(PY) -m benches.mcmc.many_chains --out docs/calibration-many-chains.md
	$(PY) -m benches.mcmc.eleven --coverage 200 --out docs/calibration-eleven.md
	$(PY) -m benches.nested.calibration table --seeds 200 --many 200 --first-seed 1000 --page docs/calibration-nested.md
	$(PY) -m benches.nested.learnt runs.jsonl --coverage 200 --page docs/calibration-nested.md
	$(PY) -m benches.nested.particles --page docs/calibration-nested.md
	$(PY) -m benches.evaluate.calibrate --out docs/calibration-evaluate.md
	$(PY) -m benches.evaluate.calibrate_peers --out docs/calibration-evaluate-peers.md
	$(PY) -m benches.privacy.calibrate_sequential --page docs/calibration-audits.md
	$(PY) -m benches.privacy.table_audits --page docs/calibration-audits.md
	$(PY) -m benches.resample.calibrate --out docs/calibration-resample.md
	$(PY) -m benches.resample.calibrate_peers --out docs/calibration-resample-peers.md
	$(PY) -m benches.resample.calibrate_further --out docs/calibration-further.md
	$(PY) -m benches.importance.calibrate_failure --out docs/calibration-failure.md
	-$(PY) -m benches.importance.wanted --out docs/calibration-importance.md
	$(PY) -m benches.evaluate.sbc --out docs/calibration-sbc.md
	$(PY) -m benches.sbi.calibrate --out docs/calibration-sbi.md
	$(PY) -m benches.design.calibrate --out docs/calibration-design.md
	$(PY) -m benches.importance.calibrate_bridge --out docs/calibration-bridge.md
	$(PY) -m benches.importance.calibrate_integrate --peers --out docs/calibration-integrate.md
	$(PY) -m benches.importance.calibrate_sensitivity --out docs/calibration-sensitivity.md

# Names of fermiac that no page has, and all other warnings, are errors.
docs: $(BUILT) $(STAMP)-docs ## Build the documentation site in docs/_build/html, warnings are errors
	$(PY) -m sphinx -q -W --keep-going -j auto -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

readme: $(BUILT) $(STAMP)-plot ## Run the README's first example: its output and its picture are written anew
	$(PY) docs/_static/readme.py

bench-smoke: $(BUILT) $(STAMP)-test $(STAMP)-bench ## Run each benchmark once, untimed
	$(ONE) $(PY) -m pytest -p benchmark --benchmark-disable -n $(JOBS) --dist loadscope $(BENCHES) $(ARGS)

# Six tenths for calls, three for files, one for kills.
fuzz: $(BUILT) $(STAMP)-test $(STAMP)-arviz $(STAMP)-plot ## Hostile calls, damaged files and kills for FUZZ_SECONDS (fuzz/README.md)
	$(PY) fuzz/calls.py --seconds $$(( $(FUZZ_SECONDS) * 6 / 10 ))
	$(PY) fuzz/files.py --n $$(( $(FUZZ_SECONDS) * 80 )) --seconds $$(( $(FUZZ_SECONDS) * 3 / 10 ))
	$(PY) fuzz/kills.py --n 100000 --seconds $$(( $(FUZZ_SECONDS) / 10 ))

fuzz-processes: $(BUILT) $(STAMP)-test ## Forks, threads, little memory, ends of the interpreter
	$(PY) fuzz/processes.py

# Miri interprets, a thousand times slower, and knows no SIMD: it gets the short tests of safe code.
MIRI := MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=2 $(CARGO) +nightly miri test --lib
miri: need-cargo ## Undefined behaviour in the Rust core, where the nightly toolchain has Miri
	@if $(CARGO) +nightly miri --version >/dev/null 2>&1; then \
		$(MIRI) -p fermiac-base -- $(addprefix store::container::tests::,what files tensors arbitrary) && \
		$(MIRI) -p fermiac-walks -- alias::tests::cells alias::tests::equal recent; \
	else \
		echo "miri: not run, because Miri is not installed: rustup component add miri --toolchain nightly"; \
	fi

ASAN_TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
asan: $(STAMP)-test ## Tests of graphs and native targets under AddressSanitizer, where there is a nightly toolchain
	@if $(CARGO) +nightly --version >/dev/null 2>&1; then \
		rm -rf target/asan && mkdir -p target/asan && cp -r python/fermiac target/asan/ && \
		RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly build -p fermiac-py --profile quick \
			--target $(ASAN_TARGET) --target-dir target/asan/build && \
		cp target/asan/build/$(ASAN_TARGET)/quick/lib_core.so target/asan/fermiac/_core.abi3.so && \
		LD_PRELOAD="$$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONPATH=target/asan $(PY) -m pytest -q -p no:cacheprovider \
			tests/walks/test_graph.py tests/targets/test_native_pointer.py; \
	else \
		echo "asan: not run, because no nightly toolchain is installed: rustup toolchain install nightly"; \
	fi

audit: need-cargo ## Licences, sources and advisories of dependencies, by what is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --all-features check; \
		else echo "audit: licences and sources not checked, because cargo-deny is not installed"; fi
	@if $(CARGO) audit --version >/dev/null 2>&1; then $(CARGO) audit; \
		else echo "audit: advisories not checked, because cargo-audit is not installed"; fi

sdist: $(STAMP)-dev ## Write the source distribution to dist/
	$(MATURIN) sdist --out dist

# The release is for Linux with glibc 2.28 or later. Zig links against it wherever the wheel is built.
ZIG := $(shell command -v zig >/dev/null 2>&1 && echo --zig)
wheel: $(STAMP)-dev ## Build the wheel of a release into dist/; on Linux it is one for glibc 2.28 or later
	@$(MATURIN) build --profile dist $(LOCKED) --compatibility manylinux_2_28 $(ZIG) --out dist || { \
		echo "wheel: not built; if symbols of glibc are too new for manylinux_2_28, install zig or build on an older system"; \
		exit 1; }

# The wheel comes from the unpacked source distribution, so files missing there are found. Files of a
# source distribution all have the same time, so that Cargo would take an older build for this one.
dist-check: $(STAMP)-test $(BUILT) ## Build a wheel from the source distribution, import it, compare its levels
	rm -rf dist $(VENV)/dist-check "$${CARGO_TARGET_DIR:-$(CURDIR)/target}/dist"
	CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(CURDIR)/target}" \
		$(MATURIN) build --profile dist --sdist $(LOCKED) --out dist
	$(PIP) --no-deps --target $(VENV)/dist-check dist/*.whl
	PYTHONPATH=$(VENV)/dist-check $(PY) -c "import fermiac; \
		assert 'dist-check' in fermiac.__file__; print('wheel imports: fermiac', fermiac.__version__)"
	PYTHONPATH=$(VENV)/dist-check $(PY) -m pytest -q tests/base/test_config.py tests/runs/test_worker.py

fmt: $(STAMP)-dev ## Format the code and apply automatic fixes
	$(CARGO) fmt --all
	$(PY) -m ruff check --fix $(RUFF_PATHS)
	$(PY) -m ruff format $(RUFF_PATHS)

clean: ## Remove all build outputs and .venv
	rm -rf .venv $(BRIDGES) $(CLUSTER) target dist demo docs/_build docs/pictures docs/project docs/reference \
		.benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f python/fermiac/_core*.so python/fermiac/_core*.pyd
	find python tests benches examples -name __pycache__ -type d -prune -exec rm -rf {} +

need-cargo:
	@command -v $(CARGO) >/dev/null || { \
		echo "fermiac is built with Rust, and '$(CARGO)' was not found: install Rust from https://rustup.rs"; exit 1; }

need-python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "'$(PYTHON)' was not found: name a Python >= 3.11 by 'make PYTHON=/path/to/python …'"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
		sys.exit(0 if v >= (3, 11) else f"$(PYTHON) is {v[0]}.{v[1]}, and fermiac needs Python >= 3.11: name one by make PYTHON=/path/to/python")'

# One stamp per step: a step runs again only when one of its dependencies has changed.
$(STAMP)-venv: | need-python need-cargo
	$(if $(UV),$(UV) venv --quiet --clear --seed --python "$$(command -v $(PYTHON))" $(VENV),$(PYTHON) -m venv --clear $(VENV))
	@touch $@

# The quick profile compiles the SIMD kernels for the CPU of this machine alone (rust/fermiac-base/build.rs).
$(STAMP)-built-quick: export FERMIAC_BUILD_LEVELS := $(or $(FERMIAC_BUILD_LEVELS),host)

# One profile is installed at a time, so the stamps of the others are removed.
$(STAMP)-built-%: $(RUST_SOURCES) pyproject.toml $(STAMP)-dev
	$(MATURIN) develop --profile $* $(LOCKED) $(if $(UV),--uv)
	@rm -f $(STAMP)-built-*
	@touch $@

# Reads the requirements of an extra from pyproject.toml; installing `.[extra]` would rebuild the package.
$(STAMP)-%: pyproject.toml | $(STAMP)-venv
	@$(PY) -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' \
		> $(VENV)/requirements-$*.txt
	$(PIP) -r $(VENV)/requirements-$*.txt
	@touch $@

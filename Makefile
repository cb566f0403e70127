# Which libtorch `make libtorch` fetches and the build uses: cpu or cuda (scripts/fetch-libtorch
# tells more). Your own LIBTORCH or LIBTORCH_USE_PYTORCH is stronger.
LIBTORCH_FLAVOR ?= cpu
export LIBTORCH_FLAVOR

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Builds without torch and with loom have folders of their own: cargo would otherwise rebuild all crates at each
# change of RUSTFLAGS, and replace the supervisor by one without torch. What is only checked or tested shares one profile
# (`checked`) and one folder: nobody uses its programs, and the dependencies are built once for both.
NO_TORCH := CARGO_TARGET_DIR="$(TARGET)/no-torch" $(CARGO)
CHECKED := --workspace --profile checked
LOOM := CARGO_TARGET_DIR="$(TARGET)/loom" RUSTFLAGS="--cfg loom -C debug_assertions" \
        LOOM_MAX_PREEMPTIONS=$(or $(LOOM_MAX_PREEMPTIONS),3) $(CARGO)
ifeq ($(LIBTORCH_FLAVOR)$(LIBTORCH)$(LIBTORCH_USE_PYTORCH),cuda)
OF_CUDA := LIBTORCH="$(CURDIR)/third_party/libtorch-cuda"
endif
TORCH := $(OF_CUDA) $(CARGO)

MATURIN := maturin==1.16.0
WHEEL_PACKAGES := $(MATURIN) ziglang==0.17.0 cargo-zigbuild==0.24.0
TEST_PACKAGES := tensorboard==2.21.0 numpy safetensors gymnasium==1.4.0 ale-py==0.12.1 onnxruntime==1.31.1 grpcio==1.85.3 protobuf==7.36.2 $(MATURIN)
ATARI_PACKAGES := gymnasium==1.4.0 ale-py==0.12.1

# $(call venv,FOLDER,PACKAGES): a virtual environment with these packages, made anew if others are in it.
venv = [[ "$$(cat "$(1)/packages" 2>/dev/null)" == "$(2)" ]] || { rm -rf "$(1)" "$(1).tmp" && python3 -m venv "$(1).tmp" \
    && "$(1).tmp/bin/python" -m pip install --quiet $(2) && echo "$(2)" > "$(1).tmp/packages" && mv "$(1).tmp" "$(1)"; }

# Tools that are no part of the build. Compiled without optimisation: half the time, and a run takes 2 s.
TOOLS := third_party/.tools
DENY_VERSION := 0.20.2
DENY := $(TOOLS)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.PHONY: help libtorch build train install wheel atari test mpi test-mpi test-times test-python test-wheel loom quick check deny package book peers bench clean distclean

help: ## this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: ARGS="..." for train, peers and bench, PREFIX and DESTDIR for install, LIBTORCH_FLAVOR=cuda, CARGO.'

libtorch: ## fetch libtorch into third_party/ (once; 527 MB to download)
	@scripts/fetch-libtorch

build: libtorch ## build the supervisor
	$(TORCH) build --release --features torch

train: build ## train on CartPole-v1 until solved
	"$(TARGET)/release/impala-supervisor" --actors 4 --env CartPole-v1 --stop-at-return 475 $(ARGS)

# Without libtorch, like the wheel: what is installed needs nothing of this repository. PROGRAMS: a folder of programs that are built already.
PREFIX ?= /usr/local
PROGRAMS ?=
install: ## install programs, man pages and completions: PREFIX=/usr/local, DESTDIR
	@[[ -n "$(PROGRAMS)" ]] || $(NO_TORCH) build --release --workspace --bins
	@DESTDIR="$(DESTDIR)" scripts/install "$(or $(PROGRAMS),$(TARGET)/no-torch/release)" "$(PREFIX)"

# For other machines with Linux: zig links the programs and the extension against the oldest glibc that they need. Tested after it is made.
WHEEL_VENV := $(abspath $(TARGET))/wheel-venv
GLIBC ?= 2.28
wheel: ## make a wheel of all programs and the Python package: GLIBC=2.28
	@$(call venv,$(WHEEL_VENV),$(WHEEL_PACKAGES))
	@rm -f "$(TARGET)"/wheels/impala_rl-*
	env -u CARGO PATH="$(WHEEL_VENV)/bin:$$PATH" python python/wheel_backend.py --glibc "$(GLIBC)" --out "$(abspath $(TARGET))/wheels"
	IMPALA_TEST_WHEEL="$$(ls "$(abspath $(TARGET))"/wheels/impala_rl-*.whl)" python3 -m unittest discover -s python/tests/wheel
	@ls -l "$(abspath $(TARGET))"/wheels/impala_rl-*.whl

# Packages for Atari games, in a virtual environment of their own; the ROMs come with ale-py.
GAME ?= Pong
ATARI_PYTHON := $(abspath $(TARGET))/atari-venv/bin/python
atari: build ## train on an Atari game: GAME=Pong
	@$(call venv,$(abspath $(TARGET))/atari-venv,$(ATARI_PACKAGES))
	"$(TARGET)/release/impala-supervisor" --actors 4 --env "gym:ALE/$(GAME)-v5" --python "$(ATARI_PYTHON)" $(ARGS)

# Optimised, because some tests train an agent, with debug assertions and kill points (the profile `checked`). Two at a
# time: each starts a pool of processes that can fill the machine, and waits for most of its time.
test: libtorch test-python test-wheel ## run every test (several learners where there is MPI), and the loom models
	@$(HAS_MPI) || echo 'several learners are not tested: that needs openmpi-bin libopenmpi-dev libclang-dev' >&2
	RUST_TEST_THREADS=2 $(TORCH) test $(CHECKED) --features torch$$($(HAS_MPI) && echo ,mpi || true)
	$(MAKE) --no-print-directory loom

# What the tests of several learners need, where it can be installed.
HAS_MPI := { command -v mpirun mpicc && ls -d /usr/lib/llvm*/lib/libclang*; } >/dev/null 2>&1
mpi: ## install MPI and libclang, as root on a Debian (once)
	@$(HAS_MPI) || { [[ $$EUID == 0 ]] && apt-get update -qq && apt-get install -y -qq openmpi-bin libopenmpi-dev libclang-dev; } >/dev/null 2>&1 \
	    || echo 'MPI and libclang cannot be installed here' >&2

# Ranks as mpirun starts them.
test-mpi: ## test several learners, which needs mpirun, an MPI library and libclang; a part of `make test`
	RUST_TEST_THREADS=1 $(CARGO) test $(CHECKED) --features mpi --test it -- ranks::

# One pass of those, in which each is timed. ARGS: a filter, such as `crash::`.
test-times: libtorch test-python ## the slow tests with their times (docs/testing.md)
	$(TORCH) build $(CHECKED) --features torch --bins --examples
	RUST_TEST_THREADS=1 $(TORCH) test --profile checked --features torch --lib --test it -- $(ARGS) 2>&1 | scripts/test-times

# What tests read our files with (TensorBoard's own reader, numpy, safetensors), and environments that they
# step. Without Python or a network those tests say that they are skipped. So do those of EnvPool, whose packages are
# 310 MB to download: they run with IMPALA_TEST_PYTHON=PYTHON, a Python that has envpool too.
TEST_PYTHON := $(abspath $(TARGET))/test-python
IMPALA_TEST_PYTHON ?= $(TEST_PYTHON)/bin/python
export IMPALA_TEST_PYTHON
test-python: ## install the Python packages that some tests need (once), and test our own
	@$(call venv,$(TEST_PYTHON),$(TEST_PACKAGES)) \
	    || echo 'no Python packages for tests: those that need them are skipped' >&2
	@[[ ! -x "$(IMPALA_TEST_PYTHON)" ]] || (cd python/tests && "$(IMPALA_TEST_PYTHON)" -W ignore -m unittest)

# Most of what it compiles `make check` has compiled. maturin would take CARGO, which may hold flags here, for the name of a program.
test-wheel: test-python ## install the wheel into a fresh virtual environment, and test it there
	@if [[ -x "$(IMPALA_TEST_PYTHON)" ]]; then cd python/tests/wheel && env -u CARGO CARGO_TARGET_DIR="$(abspath $(TARGET))" "$(IMPALA_TEST_PYTHON)" -m unittest; \
	    else echo 'the wheel is not tested: there is no Python for tests' >&2; fi

# For the loop of edit and test: no libtorch, no Python, no process of a pool.
quick: ## formatting, lints and the tests that need no processes: two minutes at most
	$(CARGO) fmt --all --check
	$(NO_TORCH) clippy --workspace --all-targets -- -D warnings
	$(NO_TORCH) test --workspace --lib

loom: ## check the lock-free parts under all interleavings
	$(LOOM) test -p impala-shm -p impala-ring --lib --release loom_

# doc-only: torch-sys compiles no C++ where nothing is linked.
LINT_TORCH := $(CHECKED) --features torch,tch/doc-only
check: libtorch deny package ## formatting, lints, documentation, dependencies, and that torch is optional
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CHECKED) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CHECKED) --no-deps
	$(TORCH) clippy $(LINT_TORCH) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(TORCH) doc $(LINT_TORCH) --no-deps
	$(CARGO) build $(CHECKED) --bins
	@echo 'without the feature torch, neither tch nor torch-sys may be in the tree'
	@tree=$$($(CARGO) tree --workspace -e normal,build,dev --prefix none); \
	    ! grep -E '^(tch|torch-sys) ' <<<"$$tree"

$(DENY):
	CARGO_TARGET_DIR="$(TOOLS)/build" CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --locked --quiet --debug \
	    --no-default-features --version "$(DENY_VERSION)" --root "$(TOOLS)/cargo-deny-$(DENY_VERSION)" cargo-deny
	rm -rf "$(TOOLS)/build"

# Advisories need the database of RustSec, a git repository, which a machine that reaches only package registries cannot
# fetch. There nobody looks for advisories, and this says so; where it can be fetched, they count as all else does.
# It would take CARGO, which may hold flags here, for the name of a program.
deny: $(DENY) ## licences, sources and bans of all dependencies (deny.toml); installs cargo-deny once
	env -u CARGO "$(DENY)" check bans licenses sources
	@if env -u CARGO "$(DENY)" fetch db 2>/dev/null; then env -u CARGO "$(DENY)" check --disable-fetch advisories; \
	    else echo 'advisories: SKIPPED, their database cannot be fetched here'; fi

MDBOOK_VERSION := 0.5.4
MDBOOK := $(TOOLS)/mdbook-$(MDBOOK_VERSION)/bin/mdbook
$(MDBOOK):
	CARGO_TARGET_DIR="$(TOOLS)/build" CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --locked --quiet --debug \
	    --no-default-features --version "$(MDBOOK_VERSION)" --root "$(TOOLS)/mdbook-$(MDBOOK_VERSION)" mdbook
	rm -rf "$(TOOLS)/build"

book: $(MDBOOK) ## the documentation as a book, into target/book; installs mdBook once
	"$(MDBOOK)" build --dest-dir "$(abspath $(TARGET))/book"

# What is on crates.io is what this puts together: a file outside of its package is found here. Not built once more.
UNPUBLISHED := impala-bench impala-export impala-manual impala-python impala-sweep
package: ## put the published crates together, as cargo publish would
	$(NO_TORCH) package --workspace --allow-dirty --no-verify --quiet $(addprefix --exclude ,$(UNPUBLISHED))

# Installs them into target/peers (8 GB). ARGS: names, --rounds, --seconds; benches/peers/README.md.
peers: ## other systems beside ours on this machine: ARGS="envpool --rounds 3"
	$(CARGO) build --release --bin impala-supervisor
	benches/peers/run.py --programs "$(TARGET)/release" $(ARGS)

bench: libtorch ## run the benchmarks
	$(TORCH) bench --features torch $(ARGS)

clean: ## remove what was built, keep libtorch
	$(CARGO) clean

distclean: clean ## remove libtorch and tools too
	rm -rf $(TOOLS) third_party/libtorch third_party/libtorch-cuda third_party/.libtorch-*

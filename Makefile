# make demo and make test work on a fresh machine: the first call sets up .venv, later ones find it ready. The demo needs
# less: what it installs is the first half of the set-up, and an interrupted one goes on with the same command.

PYTHON ?= python3
BIN = .venv/bin
DEMO = .venv/.demo
READY = .venv/.ready
BROWSER = .venv/.browser
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input

# Two test processes of one thread each; the numerical libraries would otherwise fight over the cores. A file's tests stay
# in one process, so that what they share (a trained model, a prepared corpus) is made once.
TEST_PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile

.PHONY: setup demo test test-slow lint types format clean

setup: $(READY)

# torch first, by itself: whichever build of the pinned version is at hand (CPU or CUDA) is the one kept. Nothing is
# compiled: wheels only.
$(DEMO): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'vqspeech needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11'; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt --only-binary=:all: setuptools wheel
	$(PIP) install -c constraints.txt --only-binary=:all: torch==2.13.0
	$(PIP) install -c constraints.txt --only-binary=:all: --no-build-isolation -e '.[demo]'
	@$(PIP) install -c constraints.txt --only-binary=:all: pocketsphinx || \
	    echo 'PocketSphinx has no wheel for this machine: the demo tells whose voice is heard, not which sentence.'
	touch $@

$(READY): $(DEMO)
	$(PIP) install -c constraints.txt -e '.[demo,compress,hub,listening,media,dev]'
	@$(PIP) install -c constraints.txt -e '.[evaluate]' || \
	    echo 'Some judges of vqspeech evaluate could not be installed (they need a C compiler and the headers of Python).'
	@$(PIP) install -c constraints.txt -e '.[naturalness]' || \
	    echo 'DistillMOS or DNSMOS could not be installed (onnxruntime has no wheel for this machine): no naturalness.'
	@$(PIP) install -c constraints.txt -e '.[perturb]' || \
	    echo 'pyworld could not be installed (it needs a C++ compiler and the headers of Python): no perturbation.'
	$(BIN)/python -m vqspeech.nn.torchaudio_remedy
	touch $@

demo: $(DEMO)
	$(BIN)/vqspeech demo --out runs/demo

# The page of listening tests is tested in Chromium: where none is there and apt can bring it, it does; else these tests
# are skipped with a reason.
$(BROWSER): $(READY)
	@command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } || \
	    echo 'Chromium could not be installed: the tests of the listening page are skipped.'
	touch $@

test: $(READY) $(BROWSER)
	$(PYTEST) -m 'not slow'

test-slow: $(READY) $(BROWSER)
	$(PYTEST) -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Leaves .venv, runs/ and prepared/ alone: they are costly to make again.
clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find vqspeech tests benchmarks egs -name __pycache__ -type d -prune -exec rm -rf {} +

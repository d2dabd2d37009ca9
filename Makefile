# make demo | test | fast | lint | setup. Each sets up what it needs; a second run finds the stamp and sets up nothing.
# PYTHON=python3.12 chooses another interpreter, MUJOCO_GL=egl tells that another OpenGL than OSMesa is there.

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null && echo "$$python" && break; done)

VENV := .venv
RUN := $(VENV)/bin
KEY := $(shell (cat pyproject.toml constraints.txt; pwd) | cksum | cut -d ' ' -f 1)
DEMO_READY := $(VENV)/.demo-$(KEY)
TEST_READY := $(VENV)/.test-$(KEY)
INSTALL := $(RUN)/python -m pip install --disable-pip-version-check -c constraints.txt
HAS_OSMESA := import ctypes.util, sys; sys.exit(ctypes.util.find_library("OSMesa") is None)

.PHONY: demo test fast lint setup opengl browser
.DELETE_ON_ERROR:

demo: $(DEMO_READY) | opengl
	$(RUN)/worldsim demo

test: lint | opengl browser
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -m tensorflow
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 -m "not tensorflow" || { \
		echo "once more, one at a time: a test that fails twice has failed; one that passes now is to be looked into all the same" >&2; \
		OMP_NUM_THREADS=1 $(RUN)/python -m pytest -m "not tensorflow" --last-failed --last-failed-no-failures none; }

fast: $(TEST_READY) | opengl
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n 2 -m "not slow and not tensorflow"

lint: $(TEST_READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

setup: $(TEST_READY) | opengl browser

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "worldsim needs python 3.11, 3.12 or 3.13; install one and type: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(DEMO_READY): | $(VENV)/bin/python
	$(INSTALL) -e ".[mujoco]"
	touch $@

$(TEST_READY): | $(VENV)/bin/python
	$(INSTALL) -e ".[mujoco,rl,gym,robotics,rlds,lerobot-data,remote,vid2world,vlm,web,posttrain,ray,test]"
	touch $(DEMO_READY) $@

# The true world is rendered off-screen. Linux needs a library for that, which pip cannot bring.
opengl: | $(VENV)/bin/python
	@if [ "$$(uname -s)" != Linux ] || [ -n "$$MUJOCO_GL" ] || $(RUN)/python -c '$(HAS_OSMESA)'; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libosmesa6; \
	else \
		echo "worldsim renders with OSMesa, which this machine lacks; type: sudo apt-get install -y libosmesa6" >&2; exit 1; \
	fi

# The label and play pages are tested in a browser. Without one those tests are skipped, and say so.
browser:
	@if command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; then exit 0; fi; \
	echo "no browser, so the tests of pages in one are skipped; type: sudo apt-get install -y chromium chromium-driver" >&2

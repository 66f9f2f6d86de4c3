# Everything happens in .venv; nothing outside this folder is touched. Bare `make` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
LOCK   := -c requirements.lock
DATA   ?=
PHOTO  := tests/data/sunlit_room.jpg

.DEFAULT_GOAL := help
.PHONY: help demo test check bench sample score lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(BIN)/python pyproject.toml requirements.lock
	$(PIP) install --quiet $(LOCK) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --quiet $(LOCK) --editable '.[dev]'
	@# Without what they ask for: torchvision from PyPI can't be loaded beside a CPU build of torch, and then breaks lightning
	$(PIP) install --quiet $(LOCK) --no-deps lpips cvvdp
	@touch $@

demo: $(VENV)/.base  ## Set up .venv and give a sample photo its light back: demo/sunlit_room.{exr,hdr,preview.png}
	@mkdir -p demo
	@cp $(PHOTO) demo/
	$(BIN)/hdrcli expand demo/sunlit_room.jpg -o demo/sunlit_room.exr --preview --overwrite -v
	$(BIN)/hdrcli expand demo/sunlit_room.jpg -o demo/sunlit_room.hdr --overwrite
	@echo "Now open demo/sunlit_room.preview.png"

test: $(VENV)/.dev  ## Set up .venv with all that tests need, then ruff, mypy and pytest
	$(MAKE) --no-print-directory check

check:  ## ruff, mypy, pytest (needs `make test` once)
	$(BIN)/ruff check hdrcli tests
	$(BIN)/ruff format --check hdrcli tests
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -q

bench: $(VENV)/.dev  ## Time and memory of `expand`, `tonemap`, HDR-VDP-2.2 against others; with DATA=DIR (and LDR=DIR) of `train` too
	$(BIN)/python tests/benchmarks/bench_expand.py
	$(BIN)/python tests/benchmarks/bench_tonemap.py
	$(BIN)/python tests/benchmarks/bench_hdrvdp2.py
	@test -z "$(DATA)" || $(BIN)/python tests/benchmarks/bench_train.py --hdr "$(DATA)" --recipe paired
	@test -z "$(DATA)" -o -z "$(LDR)" || $(BIN)/python tests/benchmarks/bench_train.py --hdr "$(DATA)" --ldr "$(LDR)"

sample: $(VENV)/.base  ## Render the sample photo at 24 megapixels with its HDR truth: demo/sunlit_room_24mp.{jpg,exr}
	@mkdir -p demo
	$(BIN)/python tests/tools/render_sample.py --width 6000 --ldr demo/sunlit_room_24mp.jpg --hdr demo/sunlit_room_24mp.exr

score: $(VENV)/.dev  ## make score DATA=DIR: score the bundles on the val scenes in DIR, into models/scores.json
	@test -n "$(DATA)" || { echo "make score needs DATA=DIR, a folder of HDR scenes with manifest.csv"; exit 2; }
	$(BIN)/python tests/tools/score.py "$(DATA)" --out models/scores.json --sheet demo/score.png

lock: $(VENV)/.dev  ## Write the versions installed in .venv to requirements.lock
	$(BIN)/python tests/tools/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## Remove .venv, demo and caches
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

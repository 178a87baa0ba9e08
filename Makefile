# make train DATA=faces.zip CONFIG=configs/demo.yaml OUTPUT=outputs/faces
DATA ?=
CONFIG ?= configs/demo.yaml
YUNET ?=
OUTPUT ?= outputs/demo
FACES ?= ../shared/data
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# albumentations would ask the network for a newer version of itself
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help
.PHONY: help install demo train retrain test test-browser test-gpu test-engines test-install test-transformers bench lint format clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up the environment in .venv; the other targets do it when it is missing

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) must exist and be 3.11 or newer; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks venv; install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv
	$(VENV)/bin/uv pip install --python $(VENV)/bin/python --editable ".[dev]"
	@touch $@

demo: $(INSTALLED) ## open the app in the browser, on the default model; YUNET=FILE finds faces better where there is no network
	$(VENV)/bin/python app.py $(if $(YUNET),--face_detector "$(YUNET)")

train: $(INSTALLED) ## train on DATA (drawn faces if not given) by the recipe CONFIG, and write model and report to OUTPUT
	$(VENV)/bin/accelerate launch --quiet train.py --config "$(CONFIG)" --out "$(OUTPUT)" $(if $(DATA),--data "$(DATA)")

retrain: $(INSTALLED) ## train the default model from the archives in FACES, see configs/default.yaml (hours; after an interruption, run it again)
	$(VENV)/bin/accelerate launch --quiet train.py --config configs/default.yaml --data_dir "$(FACES)" --out outputs/default --resume
	cp $(addprefix outputs/default/,*.json *.py *.png model.safetensors) checkpoints/involvit-tiny/
	$(VENV)/bin/python -c 'from involvit.publishing.model_card import write_model_card; write_model_card("checkpoints/involvit-tiny")'

test: $(INSTALLED) ## run all tests, in as many processes as there are cores
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal

test-browser: $(INSTALLED) ## use the app and the exported page in Chromium, the page in Firefox too, headless; screenshots go to outputs/screenshots
	@command -v chromium >/dev/null || apt-get install --yes --no-install-recommends chromium || \
		{ echo "Chromium is missing; install it (Debian and Ubuntu: sudo apt install chromium)" >&2; exit 1; }
	@command -v firefox-esr firefox >/dev/null || apt-get install --yes --no-install-recommends firefox-esr || \
		echo "Firefox is missing; its test is skipped (Debian: sudo apt install firefox-esr)" >&2
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --editable ".[browser]"
	YUNET="$(YUNET)" $(VENV)/bin/python -m pytest -m browser

test-gpu: $(INSTALLED) ## run on a GPU what the other tests compute on the CPU: the kernels, and training in half precision
	$(VENV)/bin/python -m pytest -m gpu

test-engines: $(INSTALLED) ## train by DDP, FSDP2 and DeepSpeed and on two machines, all on the CPU (minutes; DeepSpeed needs a C++ compiler)
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --editable ".[engines]"
	$(VENV)/bin/python -m pytest -m engines

test-install: $(INSTALLED) ## install the wheel into an empty environment and use it (needs a package registry)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest -m install

test-transformers: $(INSTALLED) ## run the tests of the installed transformers on our classes (fetches its source distribution once)
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --editable ".[transformers-tests]"
	@release=$$($(VENV)/bin/python -c 'from importlib.metadata import version; print("transformers", version("transformers"), sep="-")'); \
	test -d "build/$$release/tests" || { \
		$(VENV)/bin/python -m pip download --quiet --no-deps --no-binary transformers --dest build "transformers==$${release#*-}" && \
		tar --extract --file "build/$$release.tar.gz" --directory build "$$release/tests"; }
	$(VENV)/bin/python -m pytest -m transformers tests/transformers

bench: $(INSTALLED) ## measure operator, models and prediction beside others; tables and pictures go to benchmarks/results
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --editable ".[bench,onnx]"
	$(VENV)/bin/python -m benchmarks.involution
	$(VENV)/bin/python -m benchmarks.cpu
	$(VENV)/bin/python -m benchmarks.model
	$(VENV)/bin/python -m benchmarks.predict

lint: $(INSTALLED) ## check style, formatting and the order of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache
	@! command -v node >/dev/null || for file in involvit/publishing/web/*.js; do \
		node --check --input-type=module - < "$$file" || { echo "$$file" >&2; exit 1; }; done

format: $(INSTALLED) ## repair style and formatting where that can be done safely
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove what tools left behind; .venv and outputs stay
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

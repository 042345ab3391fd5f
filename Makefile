# The one list of commands: people, pre-commit and CI all call these. `make` alone prints it.
# Variables: PYTHON=… (interpreter for `setup`), AUDIO=… (recording for `demo`), ARGS=… (more flags for `test`, `demo`, `lock`).

BIN := .venv/bin
READY := .venv/.ready
# Until a trained dsm-tiny-en is there, an untrained one stands in for it.
MODEL := $(if $(wildcard models/dsm-tiny-en/config.json),,models/untrained/dsm-tiny-en/config.json)
AUDIO ?= models/dsm-tiny-en/samples/telephone.wav
export PYTHONPATH :=
# Where scripts/need_toolchain.sh puts Go if there is none.
export PATH := $(PATH):$(CURDIR)/.venv-go/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test check chaos fuzz soak bench-step bench-load bench-file bench-telemetry watch plots performance-doc monitoring format format-check lint types contracts proto stubs stubs-go clients client-python client-livekit client-go client-java lock clean clean-venv

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv from the hashed locks

$(READY): requirements/bootstrap.lock requirements/all.lock pyproject.toml scripts/bootstrap.sh
	@echo "Installing into .venv (about a minute the first time) …"
	@PYTHON="$(PYTHON)" scripts/bootstrap.sh
	@touch $@

models/untrained/dsm-tiny-en/config.json: | setup
	@$(BIN)/python -m training.seeded $(@D) --architecture tiny

demo: setup $(MODEL) ## Transcribe a recording with all services on this machine
	@test -n "$(AUDIO)" || { echo "No recording in models/dsm-tiny-en/samples/; name one: make demo AUDIO=file.wav" >&2; exit 1; }
	@$(BIN)/dsm-stt transcribe $(or $(ARGS),--rtf 1) "$(AUDIO)"

test: setup ## Run the tests: no GPU, no network
	$(BIN)/python -m pytest $(ARGS)

check: format-check lint types contracts proto test ## Everything that CI checks

monitoring: ## Check alert and recording rules with promtool, which comes with Prometheus
	scripts/check_monitoring.sh

format: setup ## Format Python and proto files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/buf format --write

format-check: setup ## Fail if `make format` would change a Python file
	$(BIN)/ruff format --check .

lint: setup ## Lint Python
	$(BIN)/ruff check .

types: setup ## Check types, strictly
	$(BIN)/mypy
	$(BIN)/mypy --config-file clients/python/pyproject.toml

contracts: setup ## Check who may import whom
	$(BIN)/lint-imports --no-logo

proto: setup ## Lint the proto files, check their format, that they break no caller, and that the stubs are fresh
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against proto/released.binpb
	$(BIN)/python -m pytest -q tests/test_stubs.py
	$(BIN)/python -m pytest -q -c clients/python/pyproject.toml clients/python/tests/test_stubs.py

stubs: setup ## Generate the Python stubs from the proto files
	scripts/generate_stubs.sh
	clients/python/generate_stubs.sh

.PHONY: released
released: setup ## Take the present proto files as those that later ones must not break; with each release
	$(BIN)/buf build --exclude-source-info --output proto/released.binpb

stubs-go: setup ## Generate the Go stubs of the public API
	scripts/need_toolchain.sh go
	scripts/generate_go_stubs.sh

clients: client-python client-go client-java ## Check the clients in every language

client-python: setup $(MODEL) ## Test the Python client; one test installs its package, from the network
	$(BIN)/python -m pytest -c clients/python/pyproject.toml clients/python/tests $(ARGS)

client-livekit: setup $(MODEL) ## Check the Python client's LiveKit adapter with the real livekit-agents (400 MB, network)
	clients/python/check_livekit.sh

client-go: setup ## Check the Go client, against the real service too
	scripts/need_toolchain.sh go
	scripts/check_go_client.sh

client-java: setup ## Check the Java client, against the real service too
	scripts/need_toolchain.sh java
	$(BIN)/python scripts/with_stack.py mvn --batch-mode --quiet --no-transfer-progress --file clients/java verify

.PHONY: k8s
k8s: setup ## Render, validate and lint the Kubernetes manifests
	$(BIN)/python -m pytest -q tests/deploy
	$(BIN)/python -m tests.deploy.render_all build/k8s
	scripts/checkov.sh --config-file deploy/k8s/checkov.yaml --directory build/k8s

.PHONY: images lint-images scaling
lint-images: setup ## Lint the Dockerfile and the compose files
	$(BIN)/hadolint deploy/docker/Dockerfile
	scripts/checkov.sh --framework dockerfile --file deploy/docker/Dockerfile
	$(BIN)/docker-compose --file deploy/docker/compose.yaml config --quiet
	$(BIN)/docker-compose --file deploy/docker/compose.yaml --file deploy/docker/compose.gpu.yaml config --quiet

images: lint-images ## Build the CPU images, start them with compose, call, kill and scale them (as root where there is no Docker)
	scripts/need_toolchain.sh go
	scripts/need_toolchain.sh java
	scripts/check_images.sh $(ARGS)

scaling: setup ## LM containers from 1 to 3 under live load; needs Docker and the images (DSM_STT_TAG)
	$(BIN)/python -m benchmarks.scaling $(ARGS)

lock: ## Lock the versions again after a change in pyproject.toml (ARGS=--upgrade for newer ones)
	@test -x $(BIN)/uv || { echo "run 'make setup' first" >&2; exit 1; }
	scripts/compile_locks.sh $(ARGS)

chaos: setup $(MODEL) ## Kill, pause, cut off and restart workers under live sessions (ARGS=--help)
	$(BIN)/python -m benchmarks.chaos $(ARGS)

fuzz: setup ## Ten thousand senseless request sequences
	$(BIN)/python -m benchmarks.fuzz $(ARGS)

soak: setup $(MODEL) ## Half an hour of load, and a session of two hours of audio
	$(BIN)/python -m benchmarks.soak $(ARGS)

bench-telemetry: setup ## What recording metrics costs a gateway, a frame of a session
	$(BIN)/python -m benchmarks.telemetry_cost $(ARGS)

watch: setup $(MODEL) ## Services under load, scraped by a real Prometheus, and the dashboard's panels drawn
	$(BIN)/python -m benchmarks.watched $(ARGS)

.PHONY: quick-starts
quick-starts: setup ## Follow the clients' quick starts in a fresh clone, with and without caches; needs Go and Maven
	$(BIN)/python -m benchmarks.quick_starts $(ARGS)

bench-step: setup ## Step times of the engines against moshi's
	$(BIN)/python -m benchmarks.step $(ARGS)

bench-load: setup $(MODEL) ## Live callers against all services: latency, lag, CPU, how many (about 8 minutes)
	$(BIN)/python -m benchmarks.load $(ARGS)

bench-file: setup $(MODEL) ## A long recording as fast as it goes, against moshi's own (about 3 minutes)
	$(BIN)/python -m benchmarks.file $(ARGS)

plots: setup ## Draw the benchmarks' plots again from their figures
	$(BIN)/python -m benchmarks.plot

performance-doc: setup plots ## Write the benchmarks' figures into docs/performance.md
	$(BIN)/python -m benchmarks.performance_doc

clean: ## Remove caches and build outputs
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-venv: ## Remove .venv and those of checkov and Go
	rm -rf .venv .venv-checkov .venv-go

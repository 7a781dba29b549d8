.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
REGISTRY ?= your-registry
TAG    ?= v0.1.0
# sha256:... of vLLM's image. A tag alone may name another image tomorrow.
VLLM_DIGEST ?=
IMAGE  ?= $(REGISTRY)/inference-operator:$(TAG)
ARGS   ?=

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Files whose hash stands in requirements/, and wheels alone: nothing runs at its installation.
LOCKED := install --quiet --require-hashes --only-binary=:all:

$(VENV)/.installed: pyproject.toml requirements/build.txt requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip $(LOCKED) --requirement requirements/build.txt
	$(RUN) -m pip $(LOCKED) --requirement requirements/dev.txt
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

COMPILE := $(VENV)/bin/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-annotate --custom-compile-command 'make lock' --constraint constraints.txt

.PHONY: lock
lock: deps ## Write requirements/ with hashes, from pyproject.toml and the versions in constraints.txt
	$(COMPILE) --output-file requirements/operator.txt
	$(COMPILE) --extra downloader --output-file requirements/downloader.txt
	$(COMPILE) --extra downloader --group dev --output-file requirements/dev.txt
	$(COMPILE:pyproject.toml=) --group bench --output-file requirements/bench.txt
	$(COMPILE:pyproject.toml=) --group build --output-file requirements/build.txt
	$(COMPILE:pyproject.toml=) --group ray --no-deps --output-file requirements/ray.txt

.PHONY: deps
deps: $(VENV)/.installed ## Install everything the other targets need into .venv

# Others may be installing, and a mirror may miss an answer.
APT := apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3

.PHONY: system-packages
system-packages: ## Install the Debian packages that tests of images need (root)
	$(APT) update --quiet
	DEBIAN_FRONTEND=noninteractive $(APT) install --yes --quiet --no-install-recommends \
	  buildah debian-archive-keyring debootstrap iproute2 iptables openmpi-bin openssh-client openssh-server

.PHONY: demo
demo: deps ## Run the samples on a real API server (ARGS=--exit ends when Ready; REAL=1: on a real node)
	@$(RUN) -m tools.sandbox demo $(if $(REAL),--real) $(ARGS)

.PHONY: deploy-local
deploy-local: deps ## The operator on an empty local cluster, until Ctrl-C
	@$(RUN) -m tools.sandbox up $(ARGS)

# Processes that tests are dealt to. Cluster tests wait more than they compute, so more than there are cores.
WORKERS ?= 4

.PHONY: test
test: deps ## Run all tests, side by side (WORKERS=4); the first run builds a control plane
	$(RUN) -m pytest -m 'alone and not vllm and not e2e' $(ARGS) || [ $$? -eq 5 ] # no test of ARGS is among them
	$(RUN) -m pytest -m 'not alone and not vllm and not e2e' -n $(WORKERS) $(ARGS)

UNIT := not e2e and not cluster and not groups and not images and not vllm

.PHONY: test-unit
test-unit: deps ## Run the tests that need no control plane
	$(RUN) -m pytest -m '$(UNIT)' -n auto $(ARGS)

.PHONY: coverage
coverage: deps ## Run the tests of test-unit and write which branches of app/ they took, as text, XML and HTML
	$(RUN) -m pytest -m '$(UNIT)' -n auto --cov=app --cov-branch --cov-report=term:skip-covered \
	  --cov-report=xml:build/coverage/coverage.xml --cov-report=html:build/coverage/html $(ARGS)

.PHONY: test-integration
test-integration: deps ## Run the tests on a real API server
	$(RUN) -m pytest -m cluster -n $(WORKERS) $(ARGS)

.PHONY: test-e2e
test-e2e: deps ## Run the samples from kubectl apply to Ready
	$(RUN) -m pytest tests/cluster/test_samples.py $(ARGS)

.PHONY: test-images
test-images: deps ## Run the images' scripts in network namespaces, and build the images (needs root)
	$(RUN) -m pytest -m 'not vllm' tests/images $(ARGS)

.PHONY: test-vllm
test-vllm: deps ## Run groups of real vLLM on the CPU; the first run installs 6 GB (needs root)
	$(RUN) -m pytest -m vllm tests/images $(ARGS)

.PHONY: e2e
e2e: deps ## Run the whole way on a real node with real vLLM (Linux, root; installs Debian packages)
	$(RUN) -m pytest -m e2e tests/e2e $(ARGS)

DEPLOYED := $(RUN) -m tools.sandbox.deployed

.PHONY: kind-up
kind-up: deps ## A kind cluster with the published Metacontroller and LWS, and the operator from deploy/ (needs Docker, Go)
	$(DEPLOYED) kind-up

.PHONY: test-kind
test-kind: deps ## Run the samples on that cluster, on fake nodes, from kubectl apply to Ready and away
	$(DEPLOYED) kind-test

.PHONY: kind-down
kind-down: deps ## Remove the kind cluster, whatever state it is in
	$(DEPLOYED) kind-down

.PHONY: setup-e2e-cluster
setup-e2e-cluster: deps ## Install everything on the cluster of $KUBECONFIG, which has AMD GPUs (REGISTRY=..., TAG=...)
	$(DEPLOYED) gpu-up --registry=$(REGISTRY) --tag=$(TAG)

.PHONY: test-gpu
test-gpu: deps ## Serve and measure models of 7B and 70B there, against the specification's expectations (ARGS='--profile 7b')
	$(DEPLOYED) gpu-test $(ARGS)

.PHONY: cleanup-e2e-cluster
cleanup-e2e-cluster: deps ## Remove what setup-e2e-cluster installed, and the services of test-gpu, however they ended
	$(DEPLOYED) gpu-down

.PHONY: perf
perf: deps ## Measure an endpoint's throughput, latency and resources (URL=http://..., ARGS='--help')
	@$(RUN) -m perf $(URL) $(ARGS)

SCRIPTS := .ci/run .ci/free-disk .ci/check-runtime-image

.PHONY: lint
lint: deps ## Check style, types, import directions and generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	PYTHONPATH=images/runtime $(VENV)/bin/lint-imports --no-logo
	$(RUN) -m app crds --check
	$(VENV)/bin/hadolint images/*/Dockerfile
	$(VENV)/bin/shellcheck $(SCRIPTS)
	$(VENV)/bin/zizmor --offline --no-progress --quiet .github

.PHONY: lint-workflows
lint-workflows: deps ## Check .github/workflows with actionlint (needs Go, which builds it once)
	cd .ci/tools && go tool actionlint -shellcheck=$(CURDIR)/$(VENV)/bin/shellcheck $(CURDIR)/.github/workflows/*.yml

.PHONY: fmt
fmt: deps ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: crds
crds: deps ## Write crds/ from the specs
	$(RUN) -m app crds

.PHONY: explore
explore: deps ## Run the property tests with new examples until one fails (ARGS=tests/topology narrows, MINUTES=30 ends it)
	@end=$$((SECONDS + 60 * $(or $(MINUTES),1000000))); while [ $$SECONDS -lt $$end ]; do \
	  $(RUN) -m pytest -q -m hypothesis --hypothesis-profile explore $(ARGS) || exit 1; \
	done

.PHONY: fuzz
fuzz: deps ## Ask the hooks what hostile users could make of them (ARGS='--minutes 20 --seed N'); a minute of it is a test
	$(RUN) -m tests.fuzz $(ARGS)

.PHONY: bench
bench: deps ## Measure hook service and planner on this machine
	$(RUN) -m pip $(LOCKED) --requirement requirements/bench.txt
	$(RUN) -m tests.bench $(ARGS)
	$(RUN) -m tests.bench.worst
	$(RUN) -m tests.bench.planner
	$(RUN) -m tests.bench.tiny
	$(RUN) -m tests.bench.agent
	$(RUN) -m tests.bench.agent_live
	$(RUN) -m tests.bench.exact
	$(RUN) -m tests.bench.downloader

python_base = $(if $(PYTHON_BASE),--build-arg BASE=$(PYTHON_BASE))
vllm_base   = $(if $(BASE),--build-arg BASE=$(BASE))

.PHONY: docker-build
docker-build: ## Build the operator's image (REGISTRY=..., TAG=..., or IMAGE=...; PYTHON_BASE=...)
	docker build --file images/operator/Dockerfile $(python_base) --tag $(IMAGE) .

.PHONY: docker-build-downloader
docker-build-downloader: ## Build the image of downloads (REGISTRY=..., TAG=..., PYTHON_BASE=...)
	docker build --file images/downloader/Dockerfile $(python_base) --tag $(REGISTRY)/model-downloader:$(TAG) .

.PHONY: docker-build-runtime
docker-build-runtime: ## Build the images of leaders and workers (REGISTRY=..., TAG=..., BASE=..., VLLM_DIGEST=..., WITH_RAY=true)
	$(if $(VLLM_DIGEST),,@echo "VLLM_DIGEST is not set: the base is whatever its tag names now. See docs/images.md." >&2)
	for target in leader worker; do \
	  docker build --file images/runtime/Dockerfile --target $$target $(vllm_base) \
	    --build-arg BASE_DIGEST=$(VLLM_DIGEST) $(if $(WITH_RAY),--build-arg WITH_RAY=$(WITH_RAY)) --tag $(REGISTRY)/inference-$$target:$(TAG) . || exit 1; \
	done

.PHONY: docker-push-runtime
docker-push-runtime: ## Push the images of leaders and workers (REGISTRY=..., TAG=...)
	for target in leader worker; do docker push $(REGISTRY)/inference-$$target:$(TAG) || exit 1; done

.PHONY: docker-push
docker-push: ## Push the operator's image (REGISTRY=..., TAG=..., or IMAGE=...)
	docker push $(IMAGE)

.PHONY: docker-push-downloader
docker-push-downloader: ## Push the image of downloads (REGISTRY=..., TAG=...)
	docker push $(REGISTRY)/model-downloader:$(TAG)

.PHONY: images
images: docker-build docker-build-downloader docker-build-runtime ## Build all images (REGISTRY=..., TAG=...)

.PHONY: push-images
push-images: docker-push docker-push-downloader docker-push-runtime ## Push all images (REGISTRY=..., TAG=...)

.PHONY: deploy
deploy: ## Apply deploy/base to the current kubectl context
	kubectl apply --server-side -k deploy/base

.PHONY: clean
clean: ## Remove what was installed and cached here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Everything a person or a machine runs here. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
IMAGE ?= localhost/headrace:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' headrace/__init__.py)
BASE ?= localhost/debian-python:bookworm
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# As headrace/cache_folder.py says it.
CACHE = $${HEADRACE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/headrace}
CODE := $(wildcard headrace feature_pipelines transformer predictor monitoring applications benchmarks)

.DEFAULT_GOAL := help
.PHONY: help demo test test-engines test-torchserve kube-apiserver pod-security test-kubernetes check bench image lock sbom clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Run the fraud demo from events to answers; DATA=path for payments of your own
	$(BIN)/headrace demo fraud $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-engines: $(VENV)/.dev .venv-spark/.ready .venv-flink/.ready ## Run the tests of every engine, Spark and Flink in environments of their own (Java 17)
	$(BIN)/python -m pytest tests/feature_pipelines/engines $(ARGS)
	.venv-spark/bin/python -m pytest -m engine tests/feature_pipelines/engines/test_spark.py tests/feature_pipelines/engines/test_example.py $(ARGS)

test-torchserve: $(VENV)/.dev .venv-torchserve/.ready ## Run the tests of archives against a real TorchServe (Java 17)
	HEADRACE_TORCHSERVE=.venv-torchserve/bin/python $(BIN)/python -m pytest tests/predictor/torchserve $(ARGS)

kube-apiserver: ## Build the real API server that tests use, from Debian's sources, into ~/.cache/headrace
	tests/kubernetes/real/build "$(CACHE)/kube-apiserver-1.20.2"

pod-security: ## Build what judges pods by Kubernetes' own Pod Security, from Go modules, into ~/.cache/headrace (Go 1.26)
	tests/kubernetes/pod_security/build "$(CACHE)/pod-security-0.36.4"

test-kubernetes: $(VENV)/.dev kube-apiserver ## Run the tests of manifests and commands against a real API server
	$(BIN)/python -m pytest tests/kubernetes/real tests/kubernetes/pod_security $(ARGS)

check: $(VENV)/.dev ## Lint, formatting, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/python -m pytest -q tests/architecture

bench: $(VENV)/.dev ## Run the benchmarks; they print what they measured
	$(BIN)/python -m benchmarks $(ARGS)

image: $(VENV)/.dev ## Build the image and run its processes, as root and without Docker; EXTRAS="kafka hopsworks", BASE=an image that is here
	image/build $(IMAGE) $(BASE) "$(EXTRAS)" "$(PACKAGES)"
	HEADRACE_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/image $(ARGS)

lock: .venv-images/.ready ## Write requirements/*.txt anew, after pyproject.toml or constraints.txt has changed
	.venv-images/bin/python image/lock.py

sbom: .venv-images/.ready ## List what the built image holds as CycloneDX, in build/headrace.cdx.json
	image/sbom $(IMAGE) build/headrace.cdx.json .venv-images/bin/python

clean: ## Remove the virtual environments, caches and built files
	rm -rf $(VENV) .venv-spark .venv-flink .venv-torchserve .venv-images build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is filled again only when what it is filled from has changed.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[$*]'
	@touch $@

.venv-spark/.ready: pyproject.toml constraints.txt | $(BIN)/python java
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable '.[spark]' hypothesis noida-db pytest
	@touch $@

# Apache Flink pins packages that Headrace needs newer; the connector's jars come in a package that would overlay it.
.venv-flink/.ready: Makefile | $(BIN)/python java
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet 'apache-flink>=2.3,<2.4' confluent-kafka fastavro lmdb msgspec numba orjson xxhash
	$(@D)/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --dest $(@D)/jars shigawire-apache-flink-libraries==2.0.0.post1
	cd $(@D)/jars && ../bin/python -m zipfile -e *.whl whole && mv whole/pyflink/lib/*kafka*.jar . && rm -r whole *.whl
	@touch $@

# TorchServe asks for little; our handler adds torch and numpy.
.venv-torchserve/.ready: constraints.txt | $(BIN)/python java
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt torchserve==0.12.0 torch numpy pyyaml
	@touch $@

.venv-images/.ready: image/tools.txt | $(BIN)/python
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --requirement image/tools.txt
	@touch $@

flink: .venv-flink/.ready ## Make the environment that the Flink engine runs in

.PHONY: java flink
java:
	@command -v java >/dev/null || { echo "java was not found, Spark, Flink and TorchServe need Java 17: apt-get install openjdk-17-jre-headless"; exit 1; }

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "python3 was not found, Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$("$(PYTHON)" --version), Python 3.11 or newer is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module, a virtual environment needs it: apt-get install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

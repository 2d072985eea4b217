"""Each third party has one door: the files that may name it. A new door is a decision, made here."""

import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.architecture.code import PACKAGES, ROOT, files, name_of, third_parties

DOORS = {
    "bytewax": ("feature_pipelines/engines/bytewax.py",),
    "click": ("headrace/cli/*.py",),
    "confluent_kafka": (
        "feature_pipelines/kafka/*.py",
        "feature_pipelines/hopsworks/producer.py",
        "headrace/predictions/kafka.py",
    ),
    "cryptography": ("predictor/signing.py",),
    "duckdb": ("headrace/stores/history.py",),
    "fastavro": ("feature_pipelines/formats.py",),
    "fastapi": ("transformer/stock.py",),
    "google": (
        "headrace/open_inference/grpc/*.py",
        "headrace/open_inference/client/grpc.py",
        "headrace/conformance/grpc_*.py",
        "headrace/hopsworks/descriptors.py",
    ),
    "grpc": (
        "headrace/open_inference/grpc/*.py",
        "headrace/open_inference/client/grpc.py",
        "headrace/conformance/grpc_*.py",
        "transformer/stock.py",
    ),
    "grpc_interceptor": ("transformer/stock.py",),
    "hopsworks": tuple(f"headrace/hopsworks/{name}.py" for name in ("session", "session_faults", "functions", "apply")),
    "hsfs": ("feature_pipelines/hopsworks/targets.py",),
    "hopsworks_common": ("headrace/hopsworks/serving.py",),
    "hsml": ("headrace/hopsworks/session_faults.py",),
    "httptools": (
        "headrace/http/connection.py",
        "headrace/open_inference/rest/http_reader.py",
    ),
    "jsonschema": ("headrace/manifests/schemas.py",),
    "kserve": ("transformer/model.py", "transformer/server.py"),
    "kubernetes": ("headrace/manifests/cluster_faults.py", "headrace/manifests/connecting.py"),
    "kubernetes_validate": ("headrace/manifests/core_kinds.py",),
    "lmdb": tuple(
        f"headrace/stores/{name}.py" for name in ("embedded", "environment", "group_commit", "change", "records")
    ),
    "matplotlib": ("headrace/pictures.py",),
    "model_signing": ("predictor/signing.py",),
    "msgspec": ("feature_pipelines/json_events.py",),
    "numba": ("headrace/compiled.py",),
    "numpy": ("*",),
    "onnx": tuple(f"predictor/{name}.py" for name in ("export", "rewriting", "members", "quantising")),
    "onnxruntime": ("headrace/runtime.py", "predictor/backends/*.py", "predictor/backends/onnxruntime/*"),
    "opentelemetry": ("headrace/telemetry/tracing.py",),
    "orjson": (
        "headrace/open_inference/*.py",
        "headrace/cli/*.py",
        "headrace/predictions/kafka.py",
        "headrace/stores/rondb/*.py",
        "feature_pipelines/engines/*.py",
        "feature_pipelines/dead_letters.py",
        "feature_pipelines/engines/flink_functions.py",
        "feature_pipelines/files.py",
        "feature_pipelines/json_events.py",
        "feature_pipelines/messages.py",
        "transformer/readiness.py",
    ),
    "pandas": ("feature_pipelines/engines/spark.py",),
    "prometheus_client": ("headrace/telemetry/*.py",),
    "pyarrow": (
        "headrace/stores/history.py",
        "headrace/stores/offline.py",
        "headrace/stores/timeline.py",
        "headrace/hopsworks/training.py",
        "headrace/predictions/*.py",
        "headrace/cli/*.py",
        "feature_pipelines/backfill.py",
        "feature_pipelines/dead_letters.py",
        "feature_pipelines/engines/*.py",
        "feature_pipelines/files.py",
        "feature_pipelines/sources.py",
        "feature_pipelines/spines.py",
        "applications/*/data.py",
        "applications/*/simulation.py",
    ),
    "pybase64": ("headrace/stores/rondb/answers.py",),
    "py4j": ("feature_pipelines/engines/flink_job.py",),
    "pyflink": ("feature_pipelines/engines/flink_*.py",),
    "pymysql": ("headrace/hopsworks/sdk_store.py",),
    "pyspark": ("feature_pipelines/engines/spark.py", "feature_pipelines/engines/spark_*.py"),
    "referencing": ("headrace/manifests/core_kinds.py",),
    "requests": ("headrace/hopsworks/session_faults.py",),
    "rich": ("headrace/cli/*.py",),
    "sklearn": ("predictor/train.py", "predictor/optimise.py", "applications/*/model.py", "applications/*/metrics.py"),
    "synccfd": ("applications/fraud/simulation.py",),
    "torch": ("predictor/*.py", "applications/*/model.py"),
    "tritonclient": ("headrace/cli/replay.py",),
    "triton_python_backend_utils": ("predictor/backends/*",),
    "urllib3": ("headrace/manifests/cluster_faults.py",),
    "uvloop": ("headrace/open_inference/serving/server.py", "transformer/__main__.py", "predictor/__main__.py"),
    "yaml": ("headrace/manifests/documents.py",),
    "xxhash": ("feature_pipelines/duplicates.py",),
}

#: What importing a module must not load with it.
UNLOADED = {
    "headrace.features": ("lmdb", "pyarrow", "grpc", "aiohttp", "onnxruntime", "torch", "click"),
    "headrace.open_inference": (
        "kserve",
        "tritonclient",
        "torch",
        "lmdb",
        "grpc",
        "aiohttp",
        "headrace.features",
        "numba",
    ),
    "headrace.stores.embedded": ("pyarrow", "grpc", "aiohttp", "torch"),
    "headrace.cli": ("torch", "kserve", "pyarrow", "onnxruntime", "lmdb"),
    "headrace.hopsworks.session": ("hopsworks", "requests", "pandas"),
    "applications.fraud": ("torch", "sklearn", "pyarrow", "lmdb", "synccfd"),
    "feature_pipelines.runner": ("torch", "kserve", "onnxruntime", "aiohttp"),
    "transformer.recording": ("opentelemetry", "pyarrow", "confluent_kafka", "kserve"),
    "predictor.server": ("torch", "kserve", "sklearn", "pyarrow", "lmdb", "model_signing", "cryptography"),
}


@pytest.mark.parametrize("path", files(*PACKAGES), ids=name_of)
def test_a_third_party_is_named_only_at_its_door(path):
    for party in third_parties(path):
        assert party in DOORS, f"{name_of(path)} imports {party}, which has no door"
        assert any(fnmatch(name_of(path), door) for door in DOORS[party]), f"{name_of(path)} is no door of {party}"


@pytest.mark.parametrize("path", files("headrace/features"), ids=name_of)
def test_features_need_nothing_but_numpy(path):
    assert third_parties(path) <= {"numpy"}


@pytest.mark.parametrize("module", UNLOADED)
def test_importing_a_module_loads_nothing_it_has_no_use_for(module):
    asked = f"import sys, {module}; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()).isdisjoint(UNLOADED[module])

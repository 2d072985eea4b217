"""A set like the project's own, small: an InferenceService, its runtime and configuration, a pipeline."""

from __future__ import annotations

from typing import Any

VIEWS = {1: "11aa" * 16, 2: "22bb" * 16, 3: "33cc" * 16}
_LABELS = {"app.kubernetes.io/part-of": "headrace"}


def fraud(version: int = 1, *, image: str = "1.0.0", storage: str | None = None, **extra: Any) -> list[dict[str, Any]]:
    """Return the objects of one version of the model, in no useful order; `extra` are literals of the configuration."""
    marks = {"headrace.dev/fingerprint": VIEWS[version], "headrace.dev/functions": f"f{version}" * 8}
    model = {"headrace.dev/model-version": str(version)}
    service = {
        "predictor": {
            "annotations": {**marks, **model},
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "onnx"},
                "runtime": "headrace-triton",
                "storageUri": storage or f"s3://models/fraud/{version}",
            },
        },
        "transformer": {
            "annotations": marks,
            "minReplicas": 2,
            "containers": [{"name": "kserve-container", "image": f"headrace/transformer:{image}"}],
        },
    }
    return [
        _object("serving.kserve.io/v1beta1", "InferenceService", "fraud", spec=service, annotations={**marks, **model}),
        _object(
            "serving.kserve.io/v1alpha1", "ServingRuntime", "headrace-triton", spec={"containers": [{"name": "t"}]}
        ),
        _object("v1", "ConfigMap", "fraud-transformer", data={"HEADRACE_DEADLINE_MS": "200"} | extra),
        _object("v1", "ServiceAccount", "fraud"),
        pipeline(image),
    ]


def pipeline(image: str = "1.0.0") -> dict[str, Any]:
    """Return the Deployment of a pipeline that tells its metrics."""
    labels = {"app": "fraud-pipeline-payments"}
    container = {
        "name": "pipeline",
        "image": f"headrace/pipeline:{image}",
        "ports": [{"name": "metrics", "containerPort": 9100}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", "fraud-pipeline-payments", spec=spec)


def namespace(name: str) -> dict[str, Any]:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def secret(value: str) -> dict[str, Any]:
    """Return a Secret with one value."""
    return _object("v1", "Secret", "fraud-kafka", stringData={"password": value})


def _object(api_version: str, kind: str, name: str, *, annotations: Any = None, **content: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": dict(_LABELS)}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}

"""Every object of every golden render is taken by a real API server under server-side dry run, whole and unwarned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.manifests.documents import read_objects
from tests.kubernetes.kinds import KINDS, Kind
from tests.kubernetes.kubeconfig import SPACE
from tests.kubernetes.real.older import for_server
from tests.kubernetes.real.renders import FILES, named
from tests.kubernetes.store import Object

#: Kinds whose definitions are neither KServe's nor Kubernetes' own.
UNDEFINED = {"FlinkDeployment", "PodMonitor", "PrometheusRule", "ServiceMonitor", "SparkApplication"}


@pytest.fixture(scope="module")
def spaces(real) -> Iterator[None]:
    """The namespaces that the renders name."""
    names = {each["metadata"].get("namespace", SPACE) for path in FILES for each in read_objects(path)} - {SPACE}
    for name in names:
        real.make_namespace(name)
    yield
    for name in names:
        real.forget_namespace(name)


@pytest.mark.usefixtures("spaces")
@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_object_is_accepted_whole_and_without_a_warning(real, path):
    refused, warned, lost = [], [], []
    for of in read_objects(path):
        if of["kind"] in UNDEFINED:
            continue
        said, _ = for_server(of, real.minor)
        answer = real.requests.apply_dry(kind_of(said), said, of["metadata"].get("namespace", SPACE))
        name = f"{of['kind']} {of['metadata']['name']}"
        if answer.status >= 300:
            refused.append(f"{name}: {answer.status} {answer.object['message']}")
        else:
            lost += [f"{name}: {field}" for field in missing(said, answer.object)]
        warned += [f"{name}: {each}" for each in answer.warnings]
    assert (refused, warned, lost) == ([], [], [])


def kind_of(of: Object) -> Kind:
    """Return how an object's kind is addressed, in the version that the object names."""
    found = next(each for each in KINDS if each.kind == of["kind"])
    return found._replace(version=of["apiVersion"].rpartition("/")[2])


def missing(sent: Any, held: Any, at: str = "") -> Iterator[str]:
    """Yield the fields that were sent and are not held."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if not isinstance(held, dict) or (name not in held and value not in (None, {}, [])):
                yield f"{at}.{name}"
            else:
                yield from missing(value, held.get(name, value), f"{at}.{name}")
    elif isinstance(sent, list):
        if not isinstance(held, list) or len(held) < len(sent):
            yield f"{at}[]"
        else:
            for number, (one, other) in enumerate(zip(sent, held, strict=False)):
                yield from missing(one, other, f"{at}[{number}]")


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("Deployment", {"spec": {"replicsa": 1}}, ".spec.replicsa: field not declared in schema"),
        ("InferenceService", {"spec": {"predicator": {}}}, "spec.predictor: Required value"),
        ("InferenceService", {"spec": {"predictor": {"minReplicas": "two"}}}, "minReplicas"),
        ("ServingRuntime", {"spec": {}}, "spec.containers: Required value"),
        ("ConfigMap", {"data": {"a": 1}}, ".data.a: expected string"),
    ],
    ids=str,
)
def test_what_no_schema_has_is_refused(real, kind, content, reason):
    found = next(each for each in KINDS if each.kind == kind)
    of = {"apiVersion": found.api_version, "kind": kind, "metadata": {"name": "wrong"}, **content}
    answer = real.requests.apply_dry(found, of, SPACE)
    assert answer.status >= 400
    assert reason in answer.object["message"]


def test_a_custom_resources_field_that_no_schema_has_is_refused_or_seen_to_be_lost(real):
    found = next(each for each in KINDS if each.kind == "InferenceService")
    spec = {"predictor": {"minReplicas": 1}, "predicator": {"minReplicas": 1}}
    of = {"apiVersion": found.api_version, "kind": found.kind, "metadata": {"name": "wrong"}, "spec": spec}
    answer = real.requests.apply_dry(found, of, SPACE)
    assert "predicator" in answer.object.get("message", "") or list(missing(of, answer.object)) == [".spec.predicator"]

"""KServe's own definitions, made strict: the mistakes that its minimal ones, and raw schemas, let through."""

from __future__ import annotations

import pytest

from headrace.manifests.linting import Manifest, lint
from tests.manifests.planting import good, one, plant

SERVICE = "InferenceService/fraud"
SERVED = "spec/transformer/containers/0"


@pytest.mark.parametrize(
    ("owner", "changes", "place", "found"),
    [
        (SERVICE, {"spec/predictor/toleration": []}, "spec.predictor", "did you mean 'tolerations'?"),
        (
            SERVICE,
            {f"{SERVED}/readinessProbe": {"httpget": {"path": "/v2/health/ready", "port": 8080}}},
            "spec.transformer.containers[0].readinessProbe",
            "'httpget' is unknown there; did you mean 'httpGet'?",
        ),
        (
            SERVICE,
            {"spec/predictor/model/modelFormats": {"name": "onnx"}},
            "spec.predictor.model",
            "'modelFormats' is unknown there; did you mean 'modelFormat'?",
        ),
        (SERVICE, {"spec/predictor/minReplicas": "two"}, "spec.predictor.minReplicas", "it is a text, needs integer"),
        (SERVICE, {"spec/canary/0/trafficPercent": 120}, "spec.canary[0].trafficPercent", "does not meet maximum 100"),
        (SERVICE, {"spec/canary/0/predictor/model/name": None}, "spec.canary[0].predictor.model", "'name' is missing"),
        (
            SERVICE,
            {f"{SERVED}/resources/requests/cpu": "half"},
            "spec.transformer.containers[0].resources.requests.cpu",
            "does not meet pattern",
        ),
        (
            SERVICE,
            {f"{SERVED}/ports/1/containerPort": 8080},
            "spec.transformer.containers[0].ports[1]",
            "is there already",
        ),
        (
            SERVICE,
            {"apiVersion": "serving.kserve.io/v1beta2"},
            "apiVersion",
            "version 'v1beta2' is not defined, v1beta1 is",
        ),
        ("ServingRuntime/headrace-triton", {"spec/securityContext": {}}, "spec", "'securityContext' is unknown there"),
        (
            "InferenceGraph/fraud-graph",
            {"spec/nodes/share/routerType": "Switcher"},
            "spec.nodes.share.routerType",
            "none of Sequence, Splitter, Ensemble, Switch",
        ),
    ],
)
def test_a_mistake_is_found_at_its_place(kserve_crds, owner, changes, place, found):
    objects = good()
    plant(one(objects, owner), changes)
    findings = lint(Manifest("planted", objects, {}), kserve_crds).findings
    assert (owner, place) in [(each.object, each.path) for each in findings if each.rule == "definition-schema"]
    assert found in " ".join(each.found for each in findings)


def test_every_kind_of_the_good_set_has_a_schema(kserve_crds):
    assert lint(Manifest("good", good(), {}), kserve_crds).unchecked == {}

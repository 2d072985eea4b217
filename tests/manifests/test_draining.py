"""Pods end without failing a request, start when they can answer, and are never all away at once."""

from __future__ import annotations

import pytest

from headrace.manifests.documents import Object
from headrace.settings import TransformerSettings, read_settings
from tests.manifests.golden import whole
from tests.manifests.test_release import OVERLAYS, one

#: How long the servers wait for what is under way once they listen no more; headrace/open_inference/serving/server.py.
GRACE_S = 10


def settings_of(objects: list[Object]) -> TransformerSettings:
    """Return the transformer's settings, read as the transformer reads them."""
    (data,) = [
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap" and each["metadata"]["name"].startswith("fraud-transformer")
    ]
    return read_settings(TransformerSettings, [], data)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_transformer_is_given_the_time_it_takes_to_drain(overlay):
    objects = whole(f"overlays/{overlay}")
    spec, settings = one(objects, "InferenceService")["spec"], settings_of(objects)
    pod = spec.get("transformer") or spec["predictor"]
    container = pod["containers"][0]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + settings.drain_s + GRACE_S
    assert settings.drain_s > settings.deadline_ms / 1000
    # Readiness is asked often enough for the endpoint to be gone before the listener is.
    probe = container["readinessProbe"]
    assert pause + settings.drain_s > 2 * probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_server_is_asked_where_it_answers(overlay):
    objects = whole(f"overlays/{overlay}")
    spec = one(objects, "InferenceService")["spec"]
    runtime = one(objects, "ServingRuntime", spec["predictor"]["model"]["runtime"])["spec"]
    transformer = (spec.get("transformer") or spec["predictor"])["containers"][0]
    for container in (transformer, runtime["containers"][0]):
        port = container["ports"][0]["containerPort"]
        for probe, path in (("livenessProbe", "live"), ("readinessProbe", "ready")):
            assert container[probe]["httpGet"] == {"path": f"/v2/health/{path}", "port": port}
        assert container["startupProbe"]["httpGet"]["port"] == port


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_node_that_is_drained_takes_one_pod_of_several(overlay):
    objects = whole(f"overlays/{overlay}")
    spec = one(objects, "InferenceService")["spec"]
    budgets = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"}
    for component in ("predictor", "transformer"):
        budget = budgets[f"fraud-{component}"]
        assert spec[component]["minReplicas"] > budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"]["component"] == component
        spread = {each["topologyKey"] for each in spec[component]["topologySpreadConstraints"]}
        assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert budgets["fraud-pipelines"]["maxUnavailable"] == 1  # which has one pod: a node can be drained


def test_a_gpu_is_the_predictors_alone():
    spec = one(whole("overlays/production"), "InferenceService")["spec"]
    assert spec["predictor"]["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["predictor"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["predictor"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert spec["transformer"].keys().isdisjoint({"tolerations", "nodeSelector", "affinity"})

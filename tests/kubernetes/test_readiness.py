"""What is ready, what is on its way and what is stuck, by the words of each kind's controller."""

from __future__ import annotations

import pytest

from headrace.manifests.readiness import READY, State, readiness, troubles, unscheduled


def workload(kind: str, status: dict, **spec) -> dict:
    """A workload of generation 2 with a status."""
    return {"kind": kind, "metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 2, **spec}, "status": status}


def condition(name: str, status: str, reason: str = "", message: str = "") -> dict:
    """One condition."""
    return {"type": name, "status": status, "reason": reason, "message": message}


DONE = {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}
SEEN = {"observedGeneration": 2}
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "it took too long")
QUOTA = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")


@pytest.mark.parametrize(
    ("of", "state", "said"),
    [
        (workload("Deployment", DONE), "ready", ""),
        (workload("Deployment", {}), "waiting", "its controller has not seen the change yet"),
        (workload("Deployment", {**DONE, "observedGeneration": 1}), "waiting", "its controller has not seen"),
        (workload("Deployment", {**DONE, "updatedReplicas": 1}), "waiting", "1 of 2 replicas are new"),
        (workload("Deployment", {**DONE, "replicas": 3}), "waiting", "1 old replica still there"),
        (workload("StatefulSet", {**DONE, "replicas": 4}), "waiting", "2 old replicas still there"),
        (workload("Deployment", {**DONE, "availableReplicas": 1}), "waiting", "1 of 2 replicas are available"),
        (workload("Deployment", {"conditions": [LATE]}), "failing", "ProgressDeadlineExceeded: it took too long"),
        (workload("Deployment", {"conditions": [QUOTA]}), "failing", "FailedCreate: exceeded quota"),
        (workload("DaemonSet", {}), "waiting", "its controller has not seen the change yet"),
        (
            workload("DaemonSet", {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 2}),
            "waiting",
            "0 of 3 nodes run the new one",
        ),
        (workload("Job", {}), "waiting", "it runs"),
        (workload("Job", {"conditions": [condition("Complete", "True")]}), "ready", ""),
        (workload("Job", {"conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}), "failing", "Backoff"),
        (workload("CustomResourceDefinition", {}), "waiting", "it is not established yet"),
        (workload("CustomResourceDefinition", {"conditions": [condition("Established", "True")]}), "ready", ""),
        (workload("InferenceGraph", {}), "waiting", "it has no condition Ready yet"),
        (
            workload("InferenceGraph", {"conditions": [condition("Ready", "False", "Broken", "no route")]}),
            "waiting",
            "Ready is False (Broken: no route)",
        ),
        (workload("SparkApplication", {}), "waiting", "not submitted yet"),
        (workload("SparkApplication", {"applicationState": {"state": "RUNNING"}}), "ready", ""),
        (
            workload("SparkApplication", {"applicationState": {"state": "FAILED", "errorMessage": "no driver"}}),
            "failing",
            "FAILED (no driver)",
        ),
        (workload("FlinkDeployment", {}), "waiting", "its operator has not seen the change"),
        (workload("FlinkDeployment", {"lifecycleState": "STABLE", **SEEN}), "ready", ""),
        (
            workload("FlinkDeployment", {**SEEN, "lifecycleState": "FAILED", "error": "no jar"}),
            "failing",
            "FAILED (no jar)",
        ),
        (
            workload("InferenceService", {}, predictor={"model": {}}),
            "waiting",
            "it has no status yet: is KServe's controller",
        ),
        (workload("Service", {}), "ready", ""),
    ],
)
def test_how_far_an_object_is(of, state, said):
    found = readiness(of)
    assert (found.state.value, found.said.startswith(said)) == (state, True), found.said


def test_a_container_that_fails_again_and_again_makes_its_workload_failing():
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off\n 5m"}}
    status = {"containerStatuses": [{"name": "main", "state": waiting, "lastState": ended, "restartCount": 4}]}
    pod = {"metadata": {"name": "x-1"}, "status": status}
    found = readiness(workload("Deployment", {**DONE, "availableReplicas": 1}), pods=[pod])
    assert found.state is State.FAILING
    assert found.said == (
        "pod x-1, container main: CrashLoopBackOff: back-off 5m; it ended 4 times, last with exit code 137 (OOMKilled)"
    )
    assert readiness(workload("Deployment", DONE), pods=[pod]) is READY


def test_containers_that_only_begin_are_no_trouble():
    creating = {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]}
    pulling = {"initContainerStatuses": [{"name": "get", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
    pods = [{"metadata": {"name": name}, "status": status} for name, status in (("a", creating), ("b", pulling))]
    assert list(troubles(pods)) == ["pod b, container get: ErrImagePull"]


def test_a_pod_without_a_node_says_why():
    told = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu")
    pod = {"metadata": {"name": "a"}, "status": {"conditions": [told]}}
    assert list(unscheduled([pod])) == ["pod a: Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"]


def service(**spec) -> dict:
    """An InferenceService in Standard mode whose own conditions say that all is well."""
    conditions = [condition(name, "True") for name in ("PredictorReady", "TransformerReady", "Ready")]
    metadata = {"name": "fraud", "annotations": {"headrace.dev/functions": "f1"}}
    status = {"conditions": conditions, "deploymentMode": "Standard"}
    return {"kind": "InferenceService", "metadata": metadata, "spec": spec, "status": status}


def deployment(name: str, image: str = "a", status: dict = DONE, **annotations: str) -> dict:
    """A Deployment that KServe made, rolled out unless said otherwise."""
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "main", "image": image}]}}
    metadata = {"name": name, "generation": 2}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2, "template": template}, "status": status}


STABLE = {"annotations": {"headrace.dev/fingerprint": "1"}, "model": {}}
ASIDE = {"containers": [{"name": "main", "image": "a"}]}
CANARY = {"name": "v2", "annotations": {"headrace.dev/fingerprint": "2"}}
PREDICTOR = deployment("fraud-predictor", **{"headrace.dev/fingerprint": "1", "headrace.dev/functions": "f1"})


@pytest.mark.parametrize(
    ("spec", "made", "said"),
    [
        ({"predictor": STABLE}, [PREDICTOR], ""),
        ({"predictor": STABLE}, [], "predictor: KServe has made no Deployment of it yet"),
        ({"predictor": STABLE}, [deployment("fraud-predictor")], "predictor: KServe has not taken the new"),
        (
            {"predictor": STABLE},
            [deployment("fraud-predictor", **{"headrace.dev/fingerprint": "1", "headrace.dev/functions": "f0"})],
            "predictor: KServe has not taken the new",
        ),
        ({"predictor": STABLE, "transformer": ASIDE}, [PREDICTOR, deployment("fraud-transformer")], ""),
        (
            {"predictor": STABLE, "transformer": ASIDE},
            [PREDICTOR, deployment("fraud-transformer", "old")],
            "transformer: KServe has not taken the new",
        ),
        (
            {"predictor": STABLE, "transformer": ASIDE},
            [PREDICTOR, deployment("fraud-transformer", status={**DONE, "availableReplicas": 1})],
            "transformer: 1 of 2 replicas are available",
        ),
        (
            {"predictor": STABLE, "canary": [{"trafficPercent": 10, "predictor": CANARY}]},
            [PREDICTOR],
            "canary v2: KServe has made no Deployment of it yet",
        ),
        (
            {"predictor": STABLE, "canary": [{"trafficPercent": 10, "predictor": CANARY}]},
            [PREDICTOR, deployment("fraud-v2-predictor", **{"headrace.dev/fingerprint": "1"})],
            "canary v2: KServe has not taken the new",
        ),
        (
            {"predictor": {**STABLE, **CANARY}},  # a canary that was promoted: its Deployment stays
            [deployment("fraud-v2-predictor", **{"headrace.dev/fingerprint": "2"})],
            "",
        ),
    ],
)
def test_an_inference_service_is_judged_by_its_deployments(spec, made, said):
    found = readiness(service(**spec), made)
    assert found.said.startswith(said), found
    assert (found is READY) == (not said)

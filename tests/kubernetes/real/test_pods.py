"""Every pod that the renders lead to is a restricted one, by the word of the server that refuses others.

A namespace of that level refuses a pod; on a server too old for levels a policy of the same content does. Such a
policy fills in what a pod leaves out, so that nothing may come back that was not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest

from tests.kubernetes.kubeconfig import SPACE
from tests.kubernetes.real.older import for_server
from tests.kubernetes.real.renders import FILES, named, pods
from tests.kubernetes.real.requests import Answer, Requests
from tests.kubernetes.real.running import JUDGE, Running
from tests.kubernetes.store import Object, kind_named

POD = kind_named("Pod")
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
}
SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture(scope="module")
def judge(real, tmp_path_factory) -> Iterator[Requests]:
    """A user who may make restricted pods only."""
    to = Running(real.url, real.authority)
    requests = Requests(to, tmp_path_factory.mktemp("judge"), JUDGE)
    yield requests
    requests.close()


def judged(judge: Requests, pod: Object, minor: int) -> str:
    """Return why a pod is not restricted; empty where it is."""
    said, _ = for_server(pod, minor)
    answer = judge.apply_dry(POD, said, SPACE)
    if answer.status >= 300:
        return f"refused: {answer.object['message']}"
    return "; ".join([*(f"warned: {each}" for each in answer.warnings), *filled_in(said, answer)])


def filled_in(sent: Object, answer: Answer) -> Iterator[str]:
    """Yield where the server said more of a pod's security than the pod did."""
    for kind in ("initContainers", "containers"):
        for one, other in zip(sent["spec"].get(kind, ()), answer.object["spec"].get(kind, ()), strict=True):
            if one.get("securityContext") != other.get("securityContext"):
                yield f"{one['name']} said {one.get('securityContext')}, made {other.get('securityContext')}"
    if sent["spec"].get("securityContext", {}) != answer.object["spec"]["securityContext"]:
        yield f"the pod said {sent['spec'].get('securityContext')}, made {answer.object['spec']['securityContext']}"


def pod(**context: object) -> Object:
    """A pod of one container with a security context."""
    container = {"name": "it", "image": "it:1", "securityContext": RESTRICTED | context}
    spec = {"containers": [container], "securityContext": SECCOMP}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}, "spec": spec}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_pod_of_a_render_is_restricted(real, judge, path):
    found = {name: why for name, of in pods(path) if (why := judged(judge, of, real.minor))}
    assert found == {}


def test_the_renders_lead_to_pods_of_every_kind():
    found = {
        (name.partition(" ")[0], len(of["spec"].get("initContainers", ()))) for path in FILES for name, of in pods(path)
    }
    assert found >= {("Deployment", 0), ("InferenceService", 0), ("InferenceService", 1)}


def test_a_restricted_pod_is_taken(real, judge):
    assert judged(judge, pod(), real.minor) == ""


def test_a_pod_without_a_seccomp_profile_is_found(real, judge):
    made = pod()
    del made["spec"]["securityContext"]
    assert judged(judge, made, real.minor)


@pytest.mark.parametrize("left_out", RESTRICTED)
def test_a_pod_that_leaves_anything_out_is_found(real, judge, left_out):
    made = pod()
    del made["spec"]["containers"][0]["securityContext"][left_out]
    assert judged(judge, made, real.minor)


@pytest.mark.parametrize(
    "said",
    [
        {"privileged": True},
        {"runAsUser": 0},
        {"runAsNonRoot": False},
        {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}},
    ],
    ids=str,
)
def test_a_container_that_says_more_is_refused(real, judge, said):
    assert judged(judge, pod(**said), real.minor).startswith("refused: ")


@pytest.mark.parametrize(
    "said",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
    ],
    ids=str,
)
def test_a_pod_that_reaches_for_its_node_is_refused(real, judge, said):
    made = deepcopy(pod())
    made["spec"] |= said
    assert judged(judge, made, real.minor).startswith("refused: ")

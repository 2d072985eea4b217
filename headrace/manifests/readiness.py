"""Whether an object does what was declared of it, read from what its controllers say of it. Nothing is asked here.

An InferenceService is judged by the Deployments that KServe makes of it as well as by its own conditions: those stay
true while a new specification is rolled out, and its `observedGeneration` is a Deployment's (KServe 0.15 to 0.21).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from headrace.manifests.components import PREDICTOR, Part, as_asked, deployment_of, knative, parts_of, pods_of
from headrace.manifests.documents import Object
from headrace.manifests.sets import INFERENCE_SERVICE

#: What a container waits with that a new attempt alone does not cure.
TROUBLES = {
    "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}  # fmt: skip


class State(Enum):
    """How far an object is: as declared, on its way, or stuck for a reason that may last."""

    READY = "ready"
    WAITING = "waiting"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far an object is, and what is missing in the words of its controllers."""

    state: State
    said: str = ""


READY = Readiness(State.READY)
_UNSEEN = Readiness(State.WAITING, "it has no status yet: is KServe's controller running?")


def readiness(of: Object, deployments: Sequence[Object] = (), pods: Sequence[Object] = ()) -> Readiness:
    """Return how far an object is; `deployments` are those made of an InferenceService, `pods` those of either.

    What has no controller is ready as soon as it is there. A container that fails again and again makes what it belongs
    to failing, whatever its own conditions still say.

    >>> readiness({"kind": "ConfigMap"}).state.value
    'ready'
    """
    if of["kind"] == INFERENCE_SERVICE:
        return _service(of, deployments, pods)
    judge = _JUDGES.get(of["kind"])
    found = judge(of) if judge else READY
    if found.state is State.WAITING and (stuck := next(troubles(pods), "")):
        return Readiness(State.FAILING, stuck)
    return found


def troubles(pods: Sequence[Object]) -> Iterator[str]:
    """Yield what is wrong with containers that do not run, one line each, with how they ended before."""
    for pod in pods:
        status = pod.get("status") or {}
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (each.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in TROUBLES:
                where = f"pod {pod['metadata']['name']}, container {each['name']}"
                yield f"{where}: {_words(waiting)}{_ended(each)}"


def unscheduled(pods: Sequence[Object]) -> Iterator[str]:
    """Yield why pods have no node, one line each."""
    for pod in pods:
        for each in (pod.get("status") or {}).get("conditions") or ():
            if each["type"] == "PodScheduled" and each["status"] == "False":
                yield f"pod {pod['metadata']['name']}: {_words(each)}"


def part_readiness(service: Object, part: Part, deployments: Sequence[Object], pods: Sequence[Object]) -> Readiness:
    """Return how far one part of an InferenceService is, by itself; its predictor's load is told by the whole."""
    if not (status := service.get("status") or {}).get("conditions"):
        return _UNSEEN
    if part.percent is None and part.name == PREDICTOR and (failed := _load(status)):
        return failed
    found = _revision(status, part.component) if knative(service) else _deployed(service, part, deployments)
    if found.state is State.READY and part.percent is None:
        own = f"{part.component.capitalize()}Ready"
        found = next((_condition(each) for each in status["conditions"] if each["type"] == own), found)
    if found.state is State.WAITING and (stuck := next(troubles(pods_of(part, pods)), "")):
        return Readiness(State.FAILING, stuck)
    return found


def _service(of: Object, deployments: Sequence[Object], pods: Sequence[Object]) -> Readiness:
    for part in parts_of(of):
        found = part_readiness(of, part, deployments, pods)
        if found.state is not State.READY:
            return Readiness(found.state, f"{part.name}: {found.said}" if found is not _UNSEEN else found.said)
    return _conditions(of)


def _load(status: Mapping[str, Any]) -> Readiness | None:
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") not in ("BlockedByFailedLoad", "InvalidSpec"):
        return None
    why = _words(model.get("lastFailureInfo") or {}) or "KServe gives no reason"
    return Readiness(State.FAILING, f"{model['transitionStatus']}: {why}")


def _deployed(service: Object, part: Part, deployments: Sequence[Object]) -> Readiness:
    made = deployment_of(part, deployments)
    if made is None:
        return Readiness(State.WAITING, "KServe has made no Deployment of it yet")
    if not as_asked(service, part, made):
        return Readiness(State.WAITING, "KServe has not taken the new specification over yet")
    return _rolled_out(made)


def _revision(status: Mapping[str, Any], component: str) -> Readiness:
    each = (status.get("components") or {}).get(component) or {}
    made, ready = each.get("latestCreatedRevision"), each.get("latestReadyRevision")
    if made == ready:
        return READY
    return Readiness(State.WAITING, f"the revision {made} is not ready, {ready or 'none'} serves")


def _condition(of: Mapping[str, Any]) -> Readiness:
    if of["status"] == "True":
        return READY
    return Readiness(State.WAITING, f"{of['type']} is {of['status']}{_because(of)}")


def _conditions(of: Object) -> Readiness:
    conditions = (of.get("status") or {}).get("conditions") or ()
    ready = next((each for each in conditions if each["type"] == "Ready"), None)
    if ready is not None and ready["status"] == "True":
        return READY
    missing = [f"{each['type']} is {each['status']}{_because(each)}" for each in conditions if each["status"] != "True"]
    return Readiness(State.WAITING, "; ".join(missing) or "it has no condition Ready yet")


def _rolled_out(of: Object) -> Readiness:
    status = of.get("status") or {}
    wanted = of["spec"].get("replicas", 1)
    for each in status.get("conditions") or ():
        late = each["type"] == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded"
        if late or (each["type"] == "ReplicaFailure" and each["status"] == "True"):
            return Readiness(State.FAILING, _words(each))
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if status.get("observedGeneration", 0) < of["metadata"].get("generation", 0):
        return Readiness(State.WAITING, "its controller has not seen the change yet")
    if updated < wanted:
        return Readiness(State.WAITING, f"{updated} of {wanted} replicas are new")
    if (old := status.get("replicas", 0) - updated) > 0:
        return Readiness(State.WAITING, f"{old} old replica{'s' if old > 1 else ''} still there")
    if available < wanted:
        return Readiness(State.WAITING, f"{available} of {wanted} replicas are available")
    return READY


def _daemon(of: Object) -> Readiness:
    status = of.get("status") or {}
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    if status.get("observedGeneration", 0) < of["metadata"].get("generation", 0):
        return Readiness(State.WAITING, "its controller has not seen the change yet")
    ready = min(updated, status.get("numberAvailable", 0))
    return READY if ready >= wanted else Readiness(State.WAITING, f"{ready} of {wanted} nodes run the new one")


def _job(of: Object) -> Readiness:
    for each in (of.get("status") or {}).get("conditions") or ():
        if each["status"] == "True" and each["type"] == "Failed":
            return Readiness(State.FAILING, _words(each))
        if each["status"] == "True" and each["type"] == "Complete":
            return READY
    return Readiness(State.WAITING, "it runs")


def _established(of: Object) -> Readiness:
    conditions = (of.get("status") or {}).get("conditions") or ()
    done = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
    return READY if done else Readiness(State.WAITING, "it is not established yet")


def _spark(of: Object) -> Readiness:
    said = (of.get("status") or {}).get("applicationState") or {}
    state = said.get("state", "")
    if state in ("RUNNING", "COMPLETED"):
        return READY
    why = f"{state or 'not submitted yet'}{_because({'message': said.get('errorMessage')})}"
    return Readiness(State.FAILING if "FAIL" in state else State.WAITING, why)


def _flink(of: Object) -> Readiness:
    status = of.get("status") or {}
    state = status.get("lifecycleState", "")
    if status.get("observedGeneration", 0) < of["metadata"].get("generation", 0):
        return Readiness(State.WAITING, "its operator has not seen the change yet")
    if state == "STABLE":
        return READY
    why = f"{state}{_because({'message': status.get('error')})}"
    return Readiness(State.FAILING if state == "FAILED" else State.WAITING, why)


def _words(of: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (of.get("reason", ""), " ".join((of.get("message") or "").split()))))


def _because(of: Mapping[str, Any]) -> str:
    return f" ({said})" if (said := _words(of)) else ""


def _ended(container: Mapping[str, Any]) -> str:
    before = (container.get("lastState") or {}).get("terminated")
    if not before:
        return ""
    restarts = container.get("restartCount", 0)
    return f"; it ended {restarts} times, last with exit code {before.get('exitCode')}{_because(before)}"


_JUDGES: Mapping[str, Callable[[Object], Readiness]] = {
    "InferenceGraph": _conditions,
    "Deployment": _rolled_out,
    "StatefulSet": _rolled_out,
    "DaemonSet": _daemon,
    "Job": _job,
    "SparkApplication": _spark,
    "FlinkDeployment": _flink,
    "CustomResourceDefinition": _established,
}
#: The kinds that are not ready as soon as they are there.
JUDGED = frozenset(_JUDGES) | {INFERENCE_SERVICE}

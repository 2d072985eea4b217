"""Whether an object does what was declared of it, read from what its controllers say of it. Nothing is asked here.

An InferenceService is judged by the Deployments that KServe makes of it as well as by its own conditions: those stay
true while a new specification is rolled out, and its `observedGeneration` is a Deployment's (KServe 0.15 to 0.21).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.sets import annotations_of, labels_of

#: The labels that KServe gives to what it makes of an InferenceService.
SERVICE = "serving.kserve.io/inferenceservice"
COMPONENT = "component"
COMPONENTS = ("predictor", "transformer", "explainer")
_MODE = "serving.kserve.io/deploymentMode"
_KNATIVE = ("Knative", "Serverless")
_OURS = "headrace.dev/"
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


def readiness(of: Object, deployments: Sequence[Object] = (), pods: Sequence[Object] = ()) -> Readiness:
    """Return how far an object is; `deployments` are those made of an InferenceService, `pods` those of either.

    What has no controller is ready as soon as it is there. A container that fails again and again makes what it belongs
    to failing, whatever its own conditions still say.

    >>> readiness({"kind": "ConfigMap"}).state.value
    'ready'
    """
    judge = _JUDGES.get(of["kind"])
    if judge is None:
        return READY
    found = judge(of) if of["kind"] != "InferenceService" else _service(of, deployments)
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


def knative(service: Object) -> bool:
    """Tell whether an InferenceService runs on Knative, by its own word or by the cluster's default."""
    mode = annotations_of(service).get(_MODE) or (service.get("status") or {}).get("deploymentMode", "")
    return mode in _KNATIVE


def part_of(service: Object, component: str) -> Object:
    """Return an InferenceService as if it had one component only, to be judged by itself."""
    status = dict(service.get("status") or {})
    own = f"{component.capitalize()}Ready"
    status["conditions"] = [{**each, "type": "Ready"} for each in status.get("conditions") or () if each["type"] == own]
    status["components"] = {name: each for name, each in (status.get("components") or {}).items() if name == component}
    if component != "predictor":
        status.pop("modelStatus", None)
    return {**service, "spec": {component: service["spec"][component]}, "status": status}


def as_asked(service: Object, deployment: Object) -> bool:
    """Tell whether a Deployment is of what an InferenceService says now: our annotations and named images agree."""
    spec = service["spec"].get(labels_of(deployment).get(COMPONENT, "")) or {}
    template = deployment["spec"]["template"]
    held = annotations_of(template)
    images = {each["name"]: each.get("image") for each in (template.get("spec") or {}).get("containers") or ()}
    inherited = ((key, held.get(key, value), value) for key, value in annotations_of(service).items())
    own = ((key, held.get(key), value) for key, value in (spec.get("annotations") or {}).items())
    named = ((each["name"], images.get(each["name"]), each.get("image")) for each in spec.get("containers") or ())
    kept = [has == wanted for key, has, wanted in (*inherited, *own) if key.startswith(_OURS)]
    return all(kept) and all(has == wanted for _, has, wanted in named if wanted)


def _service(of: Object, deployments: Sequence[Object]) -> Readiness:
    status = of.get("status") or {}
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") in ("BlockedByFailedLoad", "InvalidSpec"):
        failure = model.get("lastFailureInfo") or {}
        return Readiness(State.FAILING, f"{model['transitionStatus']}: {_words(failure) or 'KServe gives no reason'}")
    if not status.get("conditions"):
        return Readiness(State.WAITING, "it has no status yet: is KServe's controller running?")
    rolled = _revisions(status) if knative(of) else _children(of, deployments)
    return rolled if rolled.state is not State.READY else _conditions(of)


def _children(of: Object, deployments: Sequence[Object]) -> Readiness:
    made = {labels_of(each).get(COMPONENT): each for each in deployments}
    for component in (each for each in COMPONENTS if of["spec"].get(each)):
        if component not in made:
            return Readiness(State.WAITING, f"{component}: KServe has made no Deployment of it yet")
        if not as_asked(of, made[component]):
            return Readiness(State.WAITING, f"{component}: KServe has not taken the new specification over yet")
    for each in deployments:
        rolled = _rolled_out(each)
        if rolled.state is not State.READY:
            return Readiness(rolled.state, f"{labels_of(each).get(COMPONENT, 'component')}: {rolled.said}")
    return READY


def _revisions(status: Mapping[str, Any]) -> Readiness:
    for name, each in (status.get("components") or {}).items():
        made, ready = each.get("latestCreatedRevision"), each.get("latestReadyRevision")
        if made != ready:
            return Readiness(State.WAITING, f"{name}: the revision {made} is not ready, {ready or 'none'} serves")
    return READY


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
    "InferenceService": _conditions,
    "InferenceGraph": _conditions,
    "Deployment": _rolled_out,
    "StatefulSet": _rolled_out,
    "DaemonSet": _daemon,
    "Job": _job,
    "CustomResourceDefinition": _established,
}
#: The kinds that are not ready as soon as they are there.
JUDGED = frozenset(_JUDGES)

"""What pretends to be KServe's controller and the one of Deployments: it makes things ready, or as a test says never.

Like KServe's, it leaves an InferenceService's conditions as they were while a new specification is rolled out, and
copies `observedGeneration` from a Deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from kubernetes import client

from tests.kubernetes.kinds import Kind
from tests.kubernetes.store import Key, Object, Store, kind_named, stamp

#: What a test may say of an object: it gets ready, its containers crash, its load fails, nobody sees to it.
READY, CRASH, BLOCKED, UNSEEN = "ready", "crash", "blocked", "unseen"
Behaviour = Callable[[Object], str]
#: What a component of an InferenceService says of its pod itself; the rest is KServe's.
POD_FIELDS = frozenset(client.V1PodSpec.attribute_map.values())
_COMPONENTS = ("predictor", "transformer")


class Controllers:
    """The controllers of one store. `behaviour` tells what becomes of an object, READY unless a test says otherwise."""

    def __init__(self, store: Store, kinds: list[Kind]) -> None:
        self.store, self.kinds = store, kinds
        self.behaviour: Behaviour = lambda of: READY
        self._events = 0
        store.written = self._written

    def event(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Write an event about an object."""
        self._events += 1
        space = about["metadata"]["namespace"]
        name = f"{about['metadata']['name']}.{self._events:x}"
        body = {
            "metadata": {"name": name, "namespace": space},
            "involvedObject": {"kind": about["kind"], "name": about["metadata"]["name"], "namespace": space},
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "lastTimestamp": stamp(),
        }
        self.store.update(kind_named("Event"), ("events", space, name), body, "controllers")

    def again(self, plural: str, name: str, namespace: str) -> None:
        """See to an object anew, after a test changed what becomes of it."""
        key = (plural, namespace, name)
        self._written(key, self.store.objects[key])

    def _written(self, key: Key, of: Object) -> None:
        seen = {
            "inferenceservices": self._service,
            "deployments": self._deployment,
            "jobs": self._job,
            "customresourcedefinitions": self._definition,
            "sparkapplications": lambda key, of: self.store.status(key, {"applicationState": {"state": "RUNNING"}}),
            "flinkdeployments": self._flink,
        }.get(key[0])
        if seen is not None and self.behaviour(of) != UNSEEN:
            seen(key, of)

    def _service(self, key: Key, of: Object) -> None:
        found = self.behaviour(of)
        for component, spec, name in _deployed(of):
            self._make(of, component, spec, name)
        status = deepcopy(of.get("status") or {})
        if found == READY:
            names = [
                "IngressReady",
                *(f"{each.capitalize()}Ready" for each in _COMPONENTS if of["spec"].get(each)),
                "Ready",
            ]
            status["conditions"] = [{"type": name, "status": "True"} for name in names]
            status["modelStatus"] = {"transitionStatus": "UpToDate", "states": {"activeModelState": "Loaded"}}
        elif found == BLOCKED:
            failure = {"reason": "ModelLoadFailed", "exitCode": 1, "message": "model.onnx is not an ONNX file"}
            status["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
        if found != READY and "conditions" not in status:
            waiting = {"type": "PredictorReady", "status": "False", "reason": "MinimumReplicasUnavailable"}
            status["conditions"] = [waiting, {"type": "Ready", "status": "False"}]
        status |= {"observedGeneration": 1, "deploymentMode": "Knative" if _knative(of) else "Standard"}
        self.store.status(key, status)
        if found == READY:
            self.event(of, "Normal", "InferenceServiceReady", f"InferenceService [{key[2]}] is Ready")

    def _make(self, service: Object, component: str, spec: Object, name: str) -> None:
        metadata = service["metadata"]
        labels = {"serving.kserve.io/inferenceservice": metadata["name"], "component": component}
        annotations = {**(metadata.get("annotations") or {}), **(spec.get("annotations") or {})}
        containers = spec.get("containers") or [{"name": "kserve-container", "image": "triton:26.04"}]
        pod = {name: deepcopy(value) for name, value in spec.items() if name in POD_FIELDS}
        pod["containers"] = deepcopy(containers)
        template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
        space = metadata["namespace"]
        body: dict[str, Any] = {
            "kind": "Deployment",
            "metadata": {
                "labels": {**(metadata.get("labels") or {}), **labels},
                "ownerReferences": [_owner(service)],
            },
            "spec": {
                "replicas": spec.get("minReplicas", 1),
                "selector": {"matchLabels": labels},
                "template": template,
            },
        }
        held = self.store.get("deployments", name, space)
        made = {**held, "spec": {**held["spec"], **body["spec"]}} if held else body
        self.store.update(kind_named("Deployment"), ("deployments", space, name), made, "kserve")

    def _deployment(self, key: Key, of: Object) -> None:
        crash = self.behaviour(of) == CRASH or self._owner_crashes(of)
        replicas = of["spec"]["replicas"]
        before = (of.get("status") or {}).get("availableReplicas", 0)
        made = {"observedGeneration": of["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas}
        if crash:
            status = {**made, "replicas": replicas + before, "availableReplicas": before, "readyReplicas": before}
        else:
            status = {**made, "availableReplicas": replicas, "readyReplicas": replicas}
        for number in range(replicas):
            self._pod(key, of, number, crash)
        self.store.status(key, status)

    def _owner_crashes(self, of: Object) -> bool:
        labels = of["metadata"].get("labels") or {}
        name = labels.get("serving.kserve.io/inferenceservice", "")
        owner = self.store.get("inferenceservices", name, of["metadata"]["namespace"])
        return owner is not None and self.behaviour(owner) == CRASH and labels.get("component") == "predictor"

    def _pod(self, key: Key, of: Object, number: int, crash: bool) -> None:
        name, template = f"{key[2]}-{number}", of["spec"]["template"]
        owned = {"ownerReferences": [_owner(of)]}
        body = {"metadata": {**template["metadata"], **owned}, "spec": template["spec"]}
        pod = self.store.update(kind_named("Pod"), ("pods", key[1], name), body, "deployments")
        container = template["spec"]["containers"][0]["name"]
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
        ended = {"exitCode": 1, "reason": "Error"}
        state = {"state": {"waiting": waiting}, "lastState": {"terminated": ended}, "restartCount": 3}
        if not crash:
            state = {"state": {"running": {}}, "restartCount": 0}
        ready = {"type": "Ready", "status": "False" if crash else "True"}
        containers = [{"name": container, **state}]
        status = {"phase": "Running", "conditions": [ready], "containerStatuses": containers}
        self.store.status(("pods", key[1], name), status)
        if crash:
            self.event(pod, "Warning", "BackOff", f"Back-off restarting failed container {container}")

    def _definition(self, key: Key, of: Object) -> None:
        spec = of["spec"]
        names = spec["names"]
        made = (Kind(spec["group"], each["name"], names["kind"], names["plural"]) for each in spec["versions"])
        self.kinds += made
        self.store.status(key, {"conditions": [{"type": "Established", "status": "True"}]})

    def _flink(self, key: Key, of: Object) -> None:
        generation = of["metadata"]["generation"]
        self.store.status(key, {"lifecycleState": "STABLE", "observedGeneration": generation})

    def _job(self, key: Key, of: Object) -> None:
        failed = self.behaviour(of) != READY
        said = {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
        done = {"type": "Failed", "status": "True", **said} if failed else {"type": "Complete", "status": "True"}
        self.store.status(key, {"conditions": [done]})


def _deployed(service: Object) -> Iterator[tuple[str, Object, str]]:
    """Yield the component, specification and name of each Deployment that is made of a service."""
    name, spec = service["metadata"]["name"], service["spec"]
    ending = "-00001-deployment" if _knative(service) else ""
    for component in (each for each in _COMPONENTS if spec.get(each)):
        yield component, spec[component], f"{name}-{component}{ending}"
    for canary in spec.get("canary") or ():
        stable, own = spec["predictor"], canary["predictor"]
        annotations = {**(stable.get("annotations") or {}), **(own.get("annotations") or {})}
        yield "predictor", {**stable, **own, "annotations": annotations}, f"{name}-{own['name']}-predictor"


def _owner(of: Object) -> Object:
    return {"apiVersion": of["apiVersion"], "kind": of["kind"]} | {
        name: of["metadata"][name] for name in ("name", "uid")
    }


def _knative(service: Object) -> bool:
    annotations = service["metadata"].get("annotations") or {}
    return annotations.get("serving.kserve.io/deploymentMode") == "Knative"

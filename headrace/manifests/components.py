"""The parts of an InferenceService, and which of the objects that KServe made belong to each.

In Standard mode every part is a Deployment: `NAME-predictor`, `NAME-transformer`, and `NAME-CANARY-predictor` for each
canary, which says only what differs from the predictor. A promoted canary gives the predictor its name (KServe 0.20).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.sets import annotations_of, labels_of

#: The labels that KServe gives to what it makes of an InferenceService.
SERVICE = "serving.kserve.io/inferenceservice"
COMPONENT = "component"
PREDICTOR = "predictor"
_COMPONENTS = (PREDICTOR, "transformer", "explainer")
_MODE = "serving.kserve.io/deploymentMode"
_KNATIVE = ("Knative", "Serverless")
_OURS = "headrace.dev/"


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `name` is `predictor`, `transformer` or `canary NAME`; `percent` is a canary's share of requests."""

    name: str
    component: str
    deployment: str
    spec: Mapping[str, Any]
    percent: int | None = None


def parts_of(service: Mapping[str, Any]) -> list[Part]:
    """Return the parts that an InferenceService declares."""
    name, spec = service["metadata"]["name"], service.get("spec") or {}
    made = [
        Part(component, component, _deployment(name, component, spec[component]), spec[component])
        for component in _COMPONENTS
        if spec.get(component)
    ]
    canaries = () if knative(service) else spec.get("canary") or ()
    for each in canaries:
        own = each.get(PREDICTOR) or {}
        whole = {**(spec.get(PREDICTOR) or {}), **own, "annotations": _annotations(spec.get(PREDICTOR) or {}, own)}
        called = f"canary {own.get('name', '')}"
        made.append(Part(called, PREDICTOR, _deployment(name, PREDICTOR, whole), whole, each.get("trafficPercent", 0)))
    return made


def knative(service: Mapping[str, Any]) -> bool:
    """Tell whether an InferenceService runs on Knative, by its own word or by the cluster's default."""
    mode = annotations_of(service).get(_MODE) or (service.get("status") or {}).get("deploymentMode", "")
    return mode in _KNATIVE


def deployment_of(part: Part, deployments: Iterable[Object]) -> Object | None:
    """Return the Deployment of a part, None where there is none yet."""
    return next((each for each in deployments if each["metadata"]["name"] == part.deployment), None)


def pods_of(part: Part, pods: Sequence[Object]) -> list[Object]:
    """Return the pods of a part: those named after its Deployment, or on Knative those of its component."""
    own = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{part.deployment}-")]
    return [pod for pod in own if labels_of(pod).get(COMPONENT, part.component) == part.component]


def as_asked(service: Object, part: Part, deployment: Object) -> bool:
    """Tell whether a Deployment is of what an InferenceService says now: our annotations and named images agree."""
    template = deployment["spec"]["template"]
    held = annotations_of(template)
    images = {each["name"]: each.get("image") for each in (template.get("spec") or {}).get("containers") or ()}
    inherited = [(key, held.get(key, value), value) for key, value in annotations_of(service).items()]
    own = part.spec.get("annotations") or {}
    marks = [each for each in inherited if each[0] not in own] + [(key, held.get(key), own[key]) for key in own]
    named = [(images.get(each["name"]), each.get("image")) for each in part.spec.get("containers") or ()]
    kept = all(has == wanted for key, has, wanted in marks if key.startswith(_OURS))
    return kept and all(has == wanted for has, wanted in named if wanted)


def _deployment(service: str, component: str, spec: Mapping[str, Any]) -> str:
    called = spec.get("name") if component == PREDICTOR else None
    return f"{service}-{called}-{component}" if called else f"{service}-{component}"


def _annotations(stable: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, str]:
    return {**(stable.get("annotations") or {}), **(own.get("annotations") or {})}

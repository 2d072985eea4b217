"""How many pods there are, and who decides: bounds, metrics, and autoscalers that are in each other's way."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import annotation, look, mapping, name_of, whole
from headrace.manifests.workloads import COMPONENTS, Manifests, mode_of

CLASS = "serving.kserve.io/autoscalerClass"
_CLASSES = ("hpa", "keda", "external", "none")
_KNATIVE_CLASS = "autoscaling.knative.dev/class"
_METRICS = {"Standard": ("cpu", "memory"), "Knative": ("concurrency", "rps")}


def components(service: Object) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the components of an InferenceService with their paths."""
    for component in COMPONENTS:
        if spec := mapping(look(service, f"spec.{component}")):
            yield f"spec.{component}", spec


def _class(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        said = annotation(service, CLASS)
        if said and said not in _CLASSES:
            yield service, f"metadata.annotations.{CLASS}", f"the class is {said!r}"


def _metric(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        mode = mode_of(service)
        if mode == "Knative" and annotation(service, _KNATIVE_CLASS).startswith("hpa"):
            mode = "Standard"
        for path, spec in components(service):
            said = spec.get("scaleMetric")
            if said and mode and said not in _METRICS[mode]:
                yield service, f"{path}.scaleMetric", f"the metric is {said!r}, {mode} scales by {_either(mode)}"


def _either(mode: str) -> str:
    return " or ".join(_METRICS[mode])


def _bounds(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        for path, spec in components(service):
            low, high = whole(spec.get("minReplicas"), 1), whole(spec.get("maxReplicas"), 0)
            if 0 < high < low:
                yield service, f"{path}.maxReplicas", f"maxReplicas is {high}, minReplicas {low}"


def _to_zero(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if mode_of(service) == "Standard" and annotation(service, CLASS) not in ("keda", "external"):
            for path, spec in components(service):
                if whole(spec.get("minReplicas"), 1) == 0:
                    yield service, f"{path}.minReplicas", "minReplicas is 0 and nothing scales from zero in this mode"


def _idle(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if annotation(service, CLASS) == "none":
            for path, spec in components(service):
                low, high = whole(spec.get("minReplicas"), 1), whole(spec.get("maxReplicas"), 0)
                if high > low:
                    yield (
                        service,
                        f"{path}.maxReplicas",
                        f"maxReplicas is {high}, minReplicas {low}, and nothing scales",
                    )


def _rivals(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if mode_of(service) != "Standard" or annotation(service, CLASS) in ("external", "none"):
            continue
        own = [f"{name_of(service)}-{path.rpartition('.')[2]}" for path, _ in components(service)]
        for rival in manifests.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
            if (target := look(rival, "spec.scaleTargetRef.name")) in own:
                yield rival, "spec.scaleTargetRef.name", f"{target} is scaled by KServe's own autoscaler"


RULES = (
    Rule(
        "autoscaler-class",
        _class,
        "KServe's webhook refuses a class that it does not know",
        f"use one of {', '.join(_CLASSES)}",
    ),
    Rule(
        "scale-metric",
        _metric,
        "rps and concurrency are measured by Knative only, cpu and memory by an HPA only: the other is refused",
        "use a metric of the mode; for requests per second in Standard mode use KEDA with a Prometheus query",
    ),
    Rule("scale-bounds", _bounds, "KServe's webhook refuses such bounds", "let maxReplicas be minReplicas or more"),
    Rule(
        "scale-to-zero",
        _to_zero,
        "an HPA neither goes to zero nor comes back from it: no pod would ever answer",
        "let minReplicas be 1 or more, scale by KEDA, or deploy in Knative mode",
    ),
    Rule(
        "scale-idle",
        _idle,
        "there are minReplicas pods for ever, whatever load comes",
        "let maxReplicas be minReplicas, or name an autoscaler by its class",
    ),
    Rule(
        "autoscaler-rival",
        _rivals,
        "two autoscalers change one number of replicas in turns",
        f"annotate the InferenceService with {CLASS}: external, or take the other autoscaler out",
    ),
)

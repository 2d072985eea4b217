"""InferenceServices, and objects as such: their names, how they are deployed, and what a canary is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import annotation, identity, look, mapping, mappings, misspelt, name_of, whole
from headrace.manifests.rules.scaling import CLASS, components
from headrace.manifests.workloads import COMPONENTS, MODE, MODES, Manifests, mode_of

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?|[a-z0-9:.-]*[a-z0-9]")  # roles may have colons
_LONGEST, _LONGEST_ANY = 63, 253
_KNOWN = (
    MODE,
    CLASS,
    "serving.kserve.io/metrics",
    "serving.kserve.io/targetUtilizationPercentage",
    "serving.kserve.io/enable-prometheus-scraping",
    "serving.kserve.io/enable-metric-aggregation",
    "headrace.dev/fingerprint",
    "headrace.dev/model-version",
    "headrace.dev/functions",
    "headrace.dev/partitions",
)


def _name(manifests: Manifests) -> Iterator[Spot]:
    for owner in manifests.objects:
        kind, name = str(owner.get("kind")), name_of(owner)
        served = kind in ("InferenceService", "InferenceGraph")
        host = f"{name}-transformer" if kind == "InferenceService" else name
        if not (_LABEL if served or kind == "Service" else _DNS).fullmatch(name):
            yield owner, "metadata.name", f"the name is {name!r}"
        elif len(host) > (_LONGEST if served or kind == "Service" else _LONGEST_ANY):
            yield owner, "metadata.name", f"{host} has {len(host)} characters"


def _mode(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if (said := annotation(service, MODE)) not in MODES:
            meant = misspelt(said, MODES)
            shown = f"{said!r}{f', probably {meant}' if meant else ''}" if said else "absent"
            yield service, f"metadata.annotations.{MODE}", f"the mode is {shown}"


def _old_mode(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        said = annotation(service, MODE)
        if said in MODES and MODES[said] != said:
            yield service, f"metadata.annotations.{MODE}", f"{said} is the old name of {MODES[said]}"


def _annotations(manifests: Manifests) -> Iterator[Spot]:
    for owner in manifests.objects:
        places = [("metadata", owner), *((f"spec.{each}", look(owner, f"spec.{each}")) for each in COMPONENTS)]
        for path, value in places:
            held = mapping(look(value, "metadata.annotations" if path == "metadata" else "annotations"))
            for name in held:
                if meant := misspelt(name, _KNOWN):
                    yield owner, f"{path}.annotations.{name}", f"{name} is unknown, probably {meant}"


def _canary_mode(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if mode_of(service) == "Standard":
            for path, spec in components(service):
                if "canaryTrafficPercent" in spec:
                    yield (
                        service,
                        f"{path}.canaryTrafficPercent",
                        "canaryTrafficPercent is for Knative, this is Standard",
                    )
        elif mode_of(service) == "Knative" and look(service, "spec.canary"):
            yield service, "spec.canary", "spec.canary is for Standard, this is Knative"


def _canary(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        canaries = mappings(look(service, "spec.canary"))
        taken = [str(look(service, "spec.predictor.name") or "")]
        for at, canary in canaries:
            predictor = mapping(canary.get("predictor"))
            name = str(predictor.get("name") or "")
            if not name or name in taken:
                yield (
                    service,
                    f"spec.canary[{at}].predictor.name",
                    f"the name is {name or 'absent'!r}, not one of its own",
                )
            taken.append(name)
            for field in ("maxReplicas", "autoScaling", "scaleMetric", "scaleTarget"):
                if field in predictor and predictor[field] != predictor.get("minReplicas"):
                    yield service, f"spec.canary[{at}].predictor.{field}", f"{field} is set, a canary is not scaled"
        if (total := sum(whole(canary.get("trafficPercent"), 0) for _, canary in canaries)) > 100:
            yield service, "spec.canary", f"the canaries take {total} % of the traffic"


def _knative(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        if mode_of(pod.owner) != "Knative":
            continue
        for field in ("terminationGracePeriodSeconds", "deploymentStrategy"):
            if field in pod.spec:
                yield pod.owner, f"{pod.path}.{field}", f"{field} in Knative mode"
        for container in pod.main:
            if "lifecycle" in container.spec:
                yield container.owner, f"{container.path}.lifecycle", "lifecycle in Knative mode"
        with_ports = [each for each in pod.main if each.ports]
        for container in with_ports[1:]:
            found = f"{with_ports[0].name} has ports already, Knative allows one container to"
            yield container.owner, f"{container.path}.ports", found


def _twins(manifests: Manifests) -> Iterator[Spot]:
    seen: set[tuple[str, str]] = set()
    for owner in manifests.objects:
        own = (str(owner.get("apiVersion")), identity(owner))
        if own in seen:
            yield owner, "metadata.name", f"{identity(owner)} is there twice"
        seen.add(own)


RULES = (
    Rule(
        "object-name",
        _name,
        "a cluster, or KServe's webhook, refuses the name, or a host name made of it is longer than DNS has",
        "begin with a small letter; go on with at most 50 small letters, digits and dashes; end with no dash",
    ),
    Rule(
        "deployment-mode",
        _mode,
        "KServe takes another value, or none, for the cluster's default, which is Knative unless somebody changed it",
        f"annotate the InferenceService with {MODE}: Standard (or Knative)",
    ),
    Rule("deployment-mode-old", _old_mode, "the old names of the modes are to be removed", "use Standard or Knative"),
    Rule(
        "annotation-misspelt",
        _annotations,
        "an annotation that nobody reads changes nothing, and nobody says so",
        "write the annotation by its known name",
    ),
    Rule(
        "canary-mode",
        _canary_mode,
        "each mode has a canary field of its own and passes over the other's: all traffic stays where it was, or moves",
        "use spec.canary in Standard mode, canaryTrafficPercent in Knative mode",
    ),
    Rule(
        "canary-shape",
        _canary,
        "KServe's webhook refuses canaries without names of their own, with scaling, or with more than 100 % together",
        "name each canary's predictor, give it minReplicas alone, and let the percentages sum up to 100 at most",
    ),
    Rule(
        "knative-field",
        _knative,
        "Knative's API has no such field, and its webhook refuses the pod",
        "take it out in Knative mode, by a component of kustomize",
    ),
    Rule(
        "object-twice",
        _twins,
        "the one that is applied last replaces the other",
        "keep one of them, or name them differently",
    ),
)

"""Which object an object is, what is applied together, and in which order.

A set is what is applied together. Its objects carry the label `headrace.dev/set`, which is how a cluster tells ours
from others'; nothing without it is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from headrace.manifests.documents import Object

MANAGER = "headrace"
SET = "headrace.dev/set"
FINGERPRINT = "headrace.dev/fingerprint"
MODEL_VERSION = "headrace.dev/model-version"
FUNCTIONS = "headrace.dev/functions"
PART_OF = "app.kubernetes.io/part-of"
INFERENCE_SERVICE = "InferenceService"

#: What others need comes before them; what is not named comes with the workloads.
_ORDER = (
    ("Namespace", "CustomResourceDefinition"),
    ("ResourceQuota", "LimitRange", "PriorityClass"),
    ("ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret", "ExternalSecret", "PersistentVolume", "PersistentVolumeClaim", "NetworkPolicy"),
    ("ClusterStorageContainer", "LocalModelNodeGroup", "LocalModelCache", "ClusterServingRuntime", "ServingRuntime"),
    ("Service", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "SparkApplication", "FlinkDeployment"),
    (INFERENCE_SERVICE,),
    ("InferenceGraph", "TrainedModel"),
    ("PodDisruptionBudget", "HorizontalPodAutoscaler", "ScaledObject", "TriggerAuthentication", "Ingress", "HTTPRoute"),
    ("ServiceMonitor", "PodMonitor", "PrometheusRule"),
)
_PLACES = {kind: place for place, kinds in enumerate(_ORDER) for kind in kinds}
_WORKLOADS = _PLACES["Deployment"]

#: What holds data, or other people's objects: never deleted, only named.
KEPT_KINDS = ("Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim", "Secret")
#: What the API server adds to an object, and what is no one's declaration.
_SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


class ObjectsUnusable(ValueError):
    """Objects that cannot be applied together; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object it is. `namespace` is None for what lies in none, and before it is known.

    >>> str(Ref("apps/v1", "Deployment", "shop", "fraud-pipeline-payments"))
    'Deployment fraud-pipeline-payments'
    """

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]


def ref_of(of: Mapping[str, Any]) -> Ref:
    """Return which object it is, by what it says itself."""
    metadata = of.get("metadata") or {}
    return Ref(of["apiVersion"], of["kind"], metadata.get("namespace"), metadata.get("name", ""))


def place(kind: str) -> int:
    """Return where in the order a kind is applied; deleting goes the other way."""
    return _PLACES.get(kind, _WORKLOADS)


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Return objects in the order they are applied: namespaces, accounts, configuration, runtimes, workloads.

    >>> [each["kind"] for each in in_order([{"kind": "InferenceService"}, {"kind": "Foo"}, {"kind": "Namespace"}])]
    ['Namespace', 'Foo', 'InferenceService']
    """
    return sorted(objects, key=lambda each: place(each["kind"]))


def annotations_of(of: Mapping[str, Any]) -> Mapping[str, str]:
    """Return an object's annotations; none is empty."""
    return (of.get("metadata") or {}).get("annotations") or {}


def labels_of(of: Mapping[str, Any]) -> Mapping[str, str]:
    """Return an object's labels; none is empty."""
    return (of.get("metadata") or {}).get("labels") or {}


def set_name(objects: Sequence[Object], given: str | None = None) -> str:
    """Return what a set is called: as said, else after its only InferenceService or what all are part of.

    Raises ObjectsUnusable where nothing tells.
    """
    if given:
        return given
    services = {each["metadata"]["name"] for each in objects if each["kind"] == INFERENCE_SERVICE}
    parts = {labels_of(each)[PART_OF] for each in objects if PART_OF in labels_of(each)}
    for found in (services, parts):
        if len(found) == 1:
            return found.pop()
    raise ObjectsUnusable(
        f"the set has {len(services)} InferenceServices and is part of {', '.join(sorted(parts)) or 'nothing'}, "
        "needs one name to be found again by: give --name"
    )


def home_of(objects: Sequence[Object], given: str | None, otherwise: str) -> str:
    """Return the namespace of objects that name none: as said, else the one that the others name.

    Raises ObjectsUnusable where an object is for another namespace than the one that was said.
    """
    named = [(each, each["metadata"]["namespace"]) for each in objects if each["metadata"].get("namespace")]
    for each, namespace in named:
        if given and namespace != given:
            raise ObjectsUnusable(
                f"{ref_of(each)} is for the namespace {namespace}, --namespace is {given}: nothing was changed"
            )
    if given or not named:
        return given or otherwise
    services = [namespace for each, namespace in named if each["kind"] == INFERENCE_SERVICE]
    spaces = [namespace for _, namespace in named]
    return services[0] if services else max(spaces, key=spaces.count)


def stamped(of: Object, name: str) -> Object:
    """Return an object with the label of its set; nothing below its metadata changes, so that no pod restarts."""
    made = deepcopy(of)
    metadata = made["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), SET: name}
    made.pop("status", None)
    return made


def checked(objects: Sequence[Object]) -> list[Object]:
    """Return the objects of a set; raises ObjectsUnusable where there is none, or one is nameless or there twice."""
    if not objects:
        raise ObjectsUnusable("there is no object to apply, needs a folder or file that has some")
    seen: set[Ref] = set()
    for each in objects:
        ref = ref_of(each)
        if not ref.name:
            raise ObjectsUnusable(f"a {ref.kind} has no metadata.name, needs one to be applied")
        if ref in seen:
            raise ObjectsUnusable(f"{ref} is there twice, needs to be one object")
        seen.add(ref)
    return list(objects)


def declared(of: Mapping[str, Any]) -> Object:
    """Return what people declare of an object: without its status and what else the API server adds."""
    made: Object = {key: value for key, value in deepcopy(dict(of)).items() if key != "status"}
    metadata = made.get("metadata") or {}
    for added in _SERVER_METADATA:
        metadata.pop(added, None)
    return made

"""What objects refer to, by name or by label: that it is there, and that they find each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, name_of, selects
from headrace.manifests.workloads import Container, Manifests, Pod

#: Kinds whose pods an operator makes, and nobody knows by which labels.
_OPERATED = (
    "SparkApplication",
    "ScheduledSparkApplication",
    "FlinkDeployment",
    "LLMInferenceService",
)
_SELECTORS = {
    "PodDisruptionBudget": "spec.selector",
    "NetworkPolicy": "spec.podSelector",
    "PodMonitor": "spec.selector",
    "Service": "spec.selector",
}
_GIVEN = {"ConfigMap": ("kube-root-ca.crt",), "ServiceAccount": ("default",)}
#: Volumes that KServe adds to the pods it makes.
_ADDED = ("kserve-provision-location", "kserve-pvc-source")
_LONGEST = 15  # characters of a port's name


def _nothing(manifests: Manifests) -> Iterator[Spot]:
    if manifests.of_kind(*_OPERATED) or not manifests.pods:
        return
    graphs = [{"serving.kserve.io/inferencegraph": name_of(each)} for each in manifests.of_kind("InferenceGraph")]
    labels = [pod.labels for pod in manifests.pods] + graphs
    for kind, path in _SELECTORS.items():
        for owner in manifests.of_kind(kind):
            selector = look(owner, path)
            selector = {"matchLabels": selector} if kind == "Service" and isinstance(selector, dict) else selector
            if selector and not any(selects(selector, each) for each in labels):
                yield owner, path, f"the {kind} selects no pod of these manifests"


def _foreign(manifests: Manifests) -> Iterator[Spot]:
    for owner in manifests.of_kind("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        labels = mapping(look(owner, "spec.template.metadata.labels"))
        if not selects(look(owner, "spec.selector"), labels):
            yield owner, "spec.selector", "the selector does not fit the labels of the pod's template"


_Reference = tuple[Object, str, str, str]


def _references(pod: Pod) -> Iterator[_Reference]:
    for field in ("serviceAccountName", "serviceAccount"):
        if named := pod.spec.get(field):
            yield pod.owner, f"{pod.path}.{field}", "ServiceAccount", str(named)
    for at, volume in mappings(pod.spec.get("volumes")):
        path = f"{pod.path}.volumes[{at}]"
        yield from _config(pod.owner, f"{path}.configMap", volume.get("configMap"))
        if claim := mapping(volume.get("persistentVolumeClaim")):
            place = f"{path}.persistentVolumeClaim.claimName"
            yield pod.owner, place, "PersistentVolumeClaim", str(claim.get("claimName"))
        for n, source in mappings(look(volume, "projected.sources")):
            yield from _config(pod.owner, f"{path}.projected.sources[{n}].configMap", source.get("configMap"))
    for container in pod.containers:
        yield from _of_variables(container)


def _of_variables(container: Container) -> Iterator[_Reference]:
    for at, source in mappings(container.spec.get("envFrom")):
        place = f"{container.path}.envFrom[{at}].configMapRef"
        yield from _config(container.owner, place, source.get("configMapRef"))
    for at, variable in container.env:
        place = f"{container.path}.env[{at}].valueFrom.configMapKeyRef"
        yield from _config(container.owner, place, look(variable, "valueFrom.configMapKeyRef"))


def _config(owner: Object, path: str, reference: Any) -> Iterator[_Reference]:
    if isinstance(reference, dict) and not reference.get("optional"):
        yield owner, f"{path}.name", "ConfigMap", str(reference.get("name"))


def _dangling(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        for owner, path, kind, name in _references(pod):
            if manifests.find(kind, name, owner) is None and name not in _GIVEN.get(kind, ()):
                yield owner, path, f"there is no {kind} {name} in these manifests"
    for service, path, predictor in manifests.predictors():
        named = str(look(predictor, "model.runtime") or "")
        if named and not named.startswith("kserve-") and manifests.runtime_of(service, predictor) is None:
            yield service, f"{path}.model.runtime", f"there is no ServingRuntime {named} in these manifests"
        scheme, _, rest = str(look(predictor, "model.storageUri") or "").partition("://")
        claim = rest.partition("/")[0]
        if scheme == "pvc" and claim and manifests.find("PersistentVolumeClaim", claim, service) is None:
            where = f"{path}.model.storageUri"
            yield service, where, f"there is no PersistentVolumeClaim {claim} in these manifests"


def _mounts(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        volumes = [str(volume.get("name")) for _, volume in mappings(pod.spec.get("volumes"))]
        claims = mappings(look(pod.owner, "spec.volumeClaimTemplates"))  # a StatefulSet's are volumes of its pods
        there = (*volumes, *(str(look(claim, "metadata.name")) for _, claim in claims), *_ADDED)
        for container in pod.containers:
            for at, mount in mappings(container.spec.get("volumeMounts")):
                if str(mount.get("name")) not in there:
                    found = f"the pod has no volume {mount.get('name')}"
                    yield container.owner, f"{container.path}.volumeMounts[{at}].name", found


def _keys(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        for at, variable in container.env:
            reference = mapping(look(variable, "valueFrom.configMapKeyRef"))
            name, key = str(reference.get("name")), str(reference.get("key"))
            config = manifests.find("ConfigMap", name, container.owner) if reference else None
            if config and not reference.get("optional") and key not in mapping(config.get("data")):
                where = f"{container.path}.env[{at}].valueFrom.configMapKeyRef.key"
                yield container.owner, where, f"ConfigMap {name} has no key {key}"


def _listed(pod: Pod) -> Iterator[tuple[Container, str, tuple[str, str], str]]:
    for container in pod.main:
        for at, port in enumerate(container.ports):
            key = (str(port.get("containerPort")), str(port.get("protocol", "TCP")))
            yield container, f"{container.path}.ports[{at}]", key, str(port.get("name", ""))


def _clashes(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        first: dict[tuple[str, str], Container] = {}
        for container, path, key, name in _listed(pod):
            if first.setdefault(key, container) is not container:
                yield container.owner, f"{path}.containerPort", f"two containers of one pod listen on {key[0]}"
            if len(name) > _LONGEST:
                yield container.owner, f"{path}.name", f"{name} has {len(name)} characters"


def _scraped(manifests: Manifests) -> Iterator[Spot]:
    for monitor in manifests.of_kind("PodMonitor"):
        pods = [pod for pod in manifests.pods if selects(look(monitor, "spec.selector"), pod.labels)]
        names = {name for pod in pods for _, _, _, name in _listed(pod)}
        for at, endpoint in mappings(look(monitor, "spec.podMetricsEndpoints")):
            if pods and (named := endpoint.get("port")) and str(named) not in names:
                yield monitor, f"spec.podMetricsEndpoints[{at}].port", f"no container lists a port {named}"


RULES = (
    Rule(
        "selects-nothing",
        _nothing,
        "it guards, allows or scrapes nothing, and nobody says so",
        "select on labels that the pods have; KServe's have serving.kserve.io/inferenceservice and component",
    ),
    Rule("selector-foreign", _foreign, "a cluster refuses the object", "select on labels of the template"),
    Rule(
        "reference-missing",
        _dangling,
        "the pod waits for ever for what is not there; kustomize adds a hash to a ConfigMap's name and does not know "
        "where a CRD refers to it",
        "add the object, or tell kustomize by nameReference where the CRD refers to it",
    ),
    Rule(
        "key-missing",
        _keys,
        "the container is not created, and its pod waits for ever",
        "add the key to the ConfigMap, or say optional: true",
    ),
    Rule(
        "volume-missing",
        _mounts,
        "a cluster refuses the pod; for a CRD it does so only when its controller makes the pod, where few look",
        "add the volume to the pod, or mount one that it has",
    ),
    Rule(
        "port-clash",
        _clashes,
        "containers of a pod share its address: the second cannot listen; a name of a port has 15 characters at most",
        "give each container ports of its own, with short names",
    ),
    Rule(
        "monitor-port",
        _scraped,
        "nothing is scraped, and no alert fires for what is not measured",
        "name a port that the selected pods list, or give its number",
    ),
)

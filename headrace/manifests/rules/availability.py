"""What keeps answering while nodes go: disruption budgets, spread, and references that lead somewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, name_of, namespace_of, selects
from headrace.manifests.workloads import RUNTIMES, Container, Manifests, Pod

_BUDGET = "PodDisruptionBudget"
#: Kinds whose pods an operator makes, and nobody knows by which labels.
_OPERATED = (
    "SparkApplication",
    "ScheduledSparkApplication",
    "FlinkDeployment",
    "LLMInferenceService",
)
_SELECTORS = {
    _BUDGET: "spec.selector",
    "NetworkPolicy": "spec.podSelector",
    "PodMonitor": "spec.selector",
    "Service": "spec.selector",
}
_GIVEN = {"ConfigMap": ("kube-root-ca.crt",), "ServiceAccount": ("default",)}


def _pods(manifests: Manifests) -> list[Pod]:
    return [pod for pod in manifests.pods if pod.owner.get("kind") not in (*RUNTIMES, "Job", "CronJob", "Pod")]


def _chosen(manifests: Manifests, budget: Object) -> list[Pod]:
    selector = look(budget, "spec.selector")
    near = namespace_of(budget)
    return [pod for pod in _pods(manifests) if namespace_of(pod.owner) == near and selects(selector, pod.labels)]


def _share(value: Any, of: int) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    digits = str(value).removesuffix("%")
    return math.ceil(int(digits) * of / 100) if str(value).endswith("%") and digits.isdecimal() else None


def _blocks(manifests: Manifests) -> Iterator[Spot]:
    for budget in manifests.of_kind(_BUDGET):
        spec = mapping(budget.get("spec"))
        replicas = sum(pod.replicas for pod in _chosen(manifests, budget))
        least, away = _share(spec.get("minAvailable"), replicas), _share(spec.get("maxUnavailable"), replicas)
        if replicas and least is not None and least >= replicas:
            found = f"minAvailable is {spec['minAvailable']}, there are {replicas} replicas at least"
            yield budget, "spec.minAvailable", found
        elif replicas and away == 0:
            yield budget, "spec.maxUnavailable", f"maxUnavailable is {spec['maxUnavailable']}"


def _unguarded(manifests: Manifests) -> Iterator[Spot]:
    guarded = {id(pod) for budget in manifests.of_kind(_BUDGET) for pod in _chosen(manifests, budget)}
    for pod in _pods(manifests):
        if pod.replicas > 1 and id(pod) not in guarded and ".canary[" not in pod.path:
            yield pod.owner, pod.path, f"{pod.replicas} replicas and no {_BUDGET} that selects them"


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


def _together(manifests: Manifests) -> Iterator[Spot]:
    for pod in _pods(manifests):
        spread = pod.spec.get("topologySpreadConstraints") or look(pod.spec, "affinity.podAntiAffinity")
        if pod.replicas > 1 and not spread:
            yield pod.owner, f"{pod.path}.topologySpreadConstraints", f"{pod.replicas} replicas may be on one node"


def _idle_spread(manifests: Manifests) -> Iterator[Spot]:
    for pod in _pods(manifests):
        for at, each in mappings(pod.spec.get("topologySpreadConstraints")):
            selector = each.get("labelSelector")
            if selector is None or not selects(selector, pod.labels):
                where = f"{pod.path}.topologySpreadConstraints[{at}].labelSelector"
                yield pod.owner, where, "the selector does not fit the pod's own labels"


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


def _accounts(manifests: Manifests) -> Iterator[Spot]:
    used = {(namespace_of(pod.owner), str(pod.spec.get("serviceAccountName"))) for pod in manifests.pods}
    for account in manifests.of_kind("ServiceAccount"):
        own = (namespace_of(account), name_of(account))
        if own in used and account.get("automountServiceAccountToken") is not False:
            yield account, "automountServiceAccountToken", "the account gives its token to pods that do not refuse it"


RULES = (
    Rule(
        "budget-blocks-drain",
        _blocks,
        "no pod may ever be evicted: a node cannot be drained, and its upgrade hangs",
        "say maxUnavailable: 1, or have more replicas than minAvailable",
    ),
    Rule(
        "budget-missing",
        _unguarded,
        "a drain may take all replicas at once",
        f"add a {_BUDGET} with maxUnavailable: 1 that selects the pods",
    ),
    Rule(
        "selects-nothing",
        _nothing,
        "it guards, allows or scrapes nothing, and nobody says so",
        "select on labels that the pods have; KServe's have serving.kserve.io/inferenceservice and component",
    ),
    Rule("selector-foreign", _foreign, "a cluster refuses the object", "select on labels of the template"),
    Rule(
        "spread-missing",
        _together,
        "one node that goes takes all of them with it",
        "add topologySpreadConstraints over kubernetes.io/hostname and topology.kubernetes.io/zone",
    ),
    Rule(
        "spread-idle",
        _idle_spread,
        "a constraint that counts other pods than its own spreads nothing",
        "select on the pod's own labels",
    ),
    Rule(
        "reference-missing",
        _dangling,
        "the pod waits for ever for what is not there; kustomize adds a hash to a ConfigMap's name and does not know "
        "where a CRD refers to it",
        "add the object, or tell kustomize by nameReference where the CRD refers to it",
    ),
    Rule(
        "account-token",
        _accounts,
        "a pod that forgets to refuse the token gets one",
        "say automountServiceAccountToken: false in the ServiceAccount too",
    ),
)

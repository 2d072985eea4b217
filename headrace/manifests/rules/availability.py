"""What keeps answering while nodes go: disruption budgets, and replicas that are spread."""

from __future__ import annotations

import math
from collections.abc import Iterator

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, namespace_of, selects
from headrace.manifests.workloads import RUNTIMES, Manifests, Pod

_BUDGET = "PodDisruptionBudget"


def _pods(manifests: Manifests) -> list[Pod]:
    return [pod for pod in manifests.pods if pod.owner.get("kind") not in (*RUNTIMES, "Job", "CronJob", "Pod")]


def _chosen(manifests: Manifests, budget: Object) -> list[Pod]:
    selector = look(budget, "spec.selector")
    near = namespace_of(budget)
    return [pod for pod in _pods(manifests) if namespace_of(pod.owner) == near and selects(selector, pod.labels)]


def _share(value: object, of: int) -> int | None:
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
)

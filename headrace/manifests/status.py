"""Where a set stands: what serves, how many of it, whether it agrees, and how fresh what it reads is.

Everything is read anew from the cluster at every look; nothing is changed. A set is found by its revisions or, where it
was applied by other means, by the InferenceServices and Deployments that carry its label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import KindUnknown
from headrace.manifests.documents import Object
from headrace.manifests.explaining import Below, below
from headrace.manifests.freshness import Freshness, freshness
from headrace.manifests.readiness import COMPONENT, COMPONENTS, State, knative, part_of, readiness
from headrace.manifests.revisions import Revision, Revisions
from headrace.manifests.sets import (
    FINGERPRINT,
    INFERENCE_SERVICE,
    MODEL_VERSION,
    SET,
    annotations_of,
    labels_of,
    ref_of,
)

_SERVING = "serving.kserve.io/v1beta1"
_SHOWN = (INFERENCE_SERVICE, "Deployment", "StatefulSet", "InferenceGraph")


class NoSuchSet(ValueError):
    """Nothing of a set is there; the text says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """One component. `ready` and `wanted` count replicas, None where the cluster does not tell."""

    component: str
    ready: int | None
    wanted: int | None
    state: State
    said: str
    canary: str
    fingerprint: str
    model_version: str
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A set as it stands now. `disagreement` says where components are of different views; empty where they agree."""

    set: str
    where: str
    revision: Revision | None
    rows: tuple[Row, ...]
    disagreement: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        made: dict[str, Any] = {
            "set": self.set,
            "where": self.where,
            "disagreement": self.disagreement,
            "revision": None,
        }
        if (last := self.revision) is not None:
            told = ("number", "cause", "began_at", "reason", "restores")
            made["revision"] = {name: getattr(last, name) for name in told} | {"outcome": last.outcome.value}
        return {**made, "components": [{**asdict(row), "state": row.state.value} for row in self.rows]}


def status(cluster: Cluster, name: str, now_s: float) -> Status:
    """Return where a set stands; raises NoSuchSet where nothing of it is there. `now_s` is epoch seconds."""
    last = Revisions(cluster, name).last
    objects = list(_held(cluster, name, last))
    rows = [row for each in objects for row in _rows(cluster, each, now_s)]
    if last is None and not rows:
        raise NoSuchSet(
            f"there is no set {name!r} in {cluster}: see --namespace and --context, or apply it "
            "by headrace manifests apply"
        )
    return Status(name, str(cluster), last, tuple(rows), _disagreement(rows))


def _held(cluster: Cluster, name: str, last: Revision | None) -> Iterator[Object]:
    if last is not None:
        refs = [ref_of(each) for each in last.objects() if each["kind"] in _SHOWN]
        yield from (found for ref in refs if (found := cluster.get(ref)) is not None)
        return
    for api_version, kind in ((_SERVING, INFERENCE_SERVICE), ("apps/v1", "Deployment")):
        try:
            labelled = cluster.list(api_version, kind, f"{SET}={name}").objects
        except KindUnknown:
            continue
        for each in labelled:
            if COMPONENT not in labels_of(each):  # what KServe made of one has its labels too
                yield {"apiVersion": api_version, "kind": kind, **each}


def _rows(cluster: Cluster, of: Object, now_s: float) -> Iterator[Row]:
    parts = below(cluster, of)
    judged = readiness(of, parts.deployments, parts.pods)
    name = of["metadata"]["name"]
    if of["kind"] != INFERENCE_SERVICE:
        ready, wanted = _replicas(of)
        fresh = freshness(cluster, parts.pods, now_s)
        yield Row(name, ready, wanted, judged.state, judged.said, "", *_served(of["spec"].get("template") or of), fresh)
        return
    for component in (each for each in COMPONENTS if of["spec"].get(each)):
        yield _component(of, component, parts)


def _component(of: Object, component: str, parts: Below) -> Row:
    spec = of["spec"][component]
    pods = [pod for pod in parts.pods if labels_of(pod).get(COMPONENT) == component]
    made = [each for each in parts.deployments if labels_of(each).get(COMPONENT) == component]
    ready, wanted = _replicas(made[0]) if made else (sum(map(_is_ready, pods)), None)
    judged = readiness(part_of(of, component), made, pods)
    served = _served({"metadata": spec}, of)
    return Row(
        f"{of['metadata']['name']} {component}",
        ready,
        wanted,
        judged.state,
        judged.said,
        _canary(of, component),
        *served,
    )


def _canary(of: Object, component: str) -> str:
    if component != "predictor":
        return ""
    if not knative(of):
        percents = [each.get("trafficPercent", 0) for each in of["spec"].get("canary") or ()]
        return ", ".join(f"{percent} %" for percent in percents)
    traffic = (((of.get("status") or {}).get("components") or {}).get(component) or {}).get("traffic") or ()
    latest = [each.get("percent", 0) for each in traffic if each.get("latestRevision")]
    percent = of["spec"][component].get("canaryTrafficPercent")
    if percent is None:
        return ""
    return f"{percent} %" if not latest or latest[0] == percent else f"{latest[0]} % (asked: {percent} %)"


def _replicas(of: Object) -> tuple[int, int]:
    return (of.get("status") or {}).get("readyReplicas", 0), of["spec"].get("replicas", 1)


def _served(of: Object, otherwise: Object | None = None) -> tuple[str, str]:
    said = {**annotations_of(otherwise or {}), **annotations_of(of)}
    return said.get(FINGERPRINT, ""), said.get(MODEL_VERSION, "")


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _disagreement(rows: list[Row]) -> str:
    said = {row.fingerprint: row.component for row in rows if row.fingerprint}
    if len(said) < 2:
        return ""
    return "the components are of different views: " + ", ".join(f"{name} {mark[:12]}" for mark, name in said.items())

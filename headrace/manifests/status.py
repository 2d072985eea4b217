"""Where a set stands: what serves, how many of it, whether it agrees, and how fresh what it reads is.

Everything is read anew from the cluster at every look; nothing is changed. A set is found by its revisions or, where it
was applied by other means, by the InferenceServices and Deployments that carry its label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import KindUnknown
from headrace.manifests.components import COMPONENT, Part, deployment_of, knative, parts_of, pods_of
from headrace.manifests.documents import Object
from headrace.manifests.explaining import Below, below
from headrace.manifests.freshness import Freshness, freshness
from headrace.manifests.readiness import State, part_readiness, readiness
from headrace.manifests.revisions import Revision, Revisions, sets_in
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


def statuses(cluster: Cluster, name: str | None, now_s: float) -> list[Status]:
    """Return where the set of a name stands, or every set at home; raises NoSuchSet. `now_s` is epoch seconds."""
    names = [name] if name else sets_in(cluster)
    if not names:
        raise NoSuchSet(f"there is no set in {cluster}: see --namespace and --context")
    return [status(cluster, each, now_s) for each in names]


def status(cluster: Cluster, name: str, now_s: float) -> Status:
    """Return where a set stands; raises NoSuchSet where nothing of it is there. `now_s` is epoch seconds."""
    last = Revisions(cluster, name).last
    objects = list(_held(cluster, name, last))
    rows = [row for each in objects for row in _rows(cluster, each, now_s)]
    rows += _missing(last, objects)
    if last is None and not rows:
        raise NoSuchSet(
            f"there is no set {name!r} in {cluster}: see --namespace and --context, or apply it "
            "by headrace manifests apply"
        )
    return Status(name, str(cluster), last, tuple(rows), _disagreement(objects))


def _missing(last: Revision | None, found: Sequence[Object]) -> Iterator[Row]:
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    for each in last.objects() if last is not None else ():
        if each["kind"] in _SHOWN and (each["kind"], each["metadata"]["name"]) not in names:
            gone = "it is not there: was it deleted?"
            yield Row(each["metadata"]["name"], None, None, State.FAILING, gone, "", *_served(each))


def _held(cluster: Cluster, name: str, last: Revision | None) -> Iterator[Object]:
    if last is not None:
        refs = [ref_of(each) for each in last.objects() if each["kind"] in _SHOWN]
        yield from (found for ref in refs if (found := cluster.get(ref)) is not None)
        return
    for api_version, kind in ((_SERVING, INFERENCE_SERVICE), ("apps/v1", "Deployment")):
        try:
            labelled = cluster.listed(api_version, kind, f"{SET}={name}")
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
    for part in parts_of(of):
        yield _part(of, part, parts)


def _part(of: Object, part: Part, below_it: Below) -> Row:
    made, pods = deployment_of(part, below_it.deployments), pods_of(part, below_it.pods)
    ready, wanted = _replicas(made) if made else (sum(map(_is_ready, pods)), None)
    judged = part_readiness(of, part, below_it.deployments, below_it.pods)
    served = _served({"metadata": part.spec}, of)
    called = f"{of['metadata']['name']} {part.name}"
    return Row(called, ready, wanted, judged.state, judged.said, _canary(of, part), *served)


def _canary(of: Object, part: Part) -> str:
    if part.percent is not None:
        return f"{part.percent} %"
    asked = part.spec.get("canaryTrafficPercent")
    if asked is None or not knative(of):
        return ""
    traffic = (((of.get("status") or {}).get("components") or {}).get(part.component) or {}).get("traffic") or ()
    latest = next((each.get("percent", 0) for each in traffic if each.get("latestRevision")), asked)
    return f"{asked} %" if latest == asked else f"{latest} %, {asked} % asked for"


def _replicas(of: Object) -> tuple[int, int]:
    return (of.get("status") or {}).get("readyReplicas", 0), of["spec"].get("replicas", 1)


def _served(of: Object, otherwise: Object | None = None) -> tuple[str, str]:
    said = {**annotations_of(otherwise or {}), **annotations_of(of)}
    return said.get(FINGERPRINT, ""), said.get(MODEL_VERSION, "")


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _disagreement(objects: list[Object]) -> str:
    said = {}
    for of in (each for each in objects if each["kind"] == INFERENCE_SERVICE):
        for part in (each for each in parts_of(of) if each.percent is None):
            fingerprint, _ = _served({"metadata": part.spec}, of)
            said[fingerprint] = f"{of['metadata']['name']} {part.name} {fingerprint[:12]}"
    said.pop("", None)
    return f"the components are of different views: {', '.join(said.values())}" if len(said) > 1 else ""

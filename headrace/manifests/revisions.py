"""What was applied before: each applied set whole, so that model, view and functions come back together.

A revision is a ConfigMap `headrace-revision-SET-N` beside the set, its objects compressed JSON. It is written before
anything is applied and told how it ended afterwards, so that a command that was killed leaves a trace. Secrets are not
kept: a rollback leaves them as they are. The last ten revisions stay, and always the last one that was ready.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import AlreadyThere
from headrace.manifests.documents import Object
from headrace.manifests.sets import (
    FINGERPRINT,
    FUNCTIONS,
    INFERENCE_SERVICE,
    MANAGER,
    MODEL_VERSION,
    Ref,
    annotations_of,
    labels_of,
    ref_of,
)

KEPT = 10
_OF = "headrace.dev/revision-of"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_LARGEST = 1_000_000  # the API server takes a MiB, names and labels among it


class Outcome(Enum):
    """How the apply of a revision ended, as far as anybody has said."""

    APPLYING = "applying"
    APPLIED = "applied"  # and not waited for
    READY = "ready"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class NoSuchRevision(ValueError):
    """There is no revision to go back to, or none of that number; the text has those that there are."""


class RevisionUnusable(ValueError):
    """A revision that cannot be kept or read; the text says why."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a set serves: the version of its model, the fingerprint of its view, the hash of its functions."""

    model_version: str = ""
    fingerprint: str = ""
    functions: str = ""

    def __str__(self) -> str:
        parts = (("model", self.model_version), ("view", self.fingerprint[:12]), ("functions", self.functions[:12]))
        return ", ".join(f"{name} {value}" for name, value in parts if value) or "a model that is not named"


@dataclass(frozen=True, slots=True)
class Revision:
    """One applied set. `restores` is the revision that a rollback brought back, 0 where it is none."""

    set: str
    number: int
    outcome: Outcome
    cause: str
    began_at: str
    serves: Served
    restores: int = 0
    reason: str = ""
    packed: str = ""

    @property
    def ref(self) -> Ref:
        """The ConfigMap that keeps it."""
        return Ref("v1", "ConfigMap", None, f"headrace-revision-{self.set}-{self.number}")

    @property
    def content(self) -> int:
        """The number of the revision whose objects these are: the restored one of a rollback, else its own."""
        return self.restores or self.number

    def objects(self) -> list[Object]:
        """Return what was applied, Secrets left out; raises RevisionUnusable."""
        try:
            read: list[Object] = json.loads(gzip.decompress(base64.b64decode(self.packed)))
        except (ValueError, OSError, EOFError) as broken:
            raise RevisionUnusable(f"{self.ref} cannot be read ({broken}): apply the set anew") from broken
        return read


class Revisions:
    """The revisions of one set, the oldest first."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        found = cluster.listed("v1", "ConfigMap", f"{_OF}={name}")
        self.all = sorted(map(_read, found), key=lambda each: each.number)

    @property
    def last(self) -> Revision | None:
        """The newest revision, however it ended."""
        return self.all[-1] if self.all else None

    def before(self, number: int) -> Revision | None:
        """Return the newest revision before a number that was ready."""
        ready = [each for each in self.all if each.number < number and each.outcome is Outcome.READY]
        return ready[-1] if ready else None

    def target(self, to: int | None) -> Revision:
        """Return what to go back to: the one that is asked for, else the last ready one before what is served now.

        A rollback after a rollback goes on to the one before. Raises NoSuchRevision.
        """
        if to is not None:
            found = next((each for each in self.all if each.number == to), None)
        else:
            found = self.before(self.last.content) if self.last else None
        if found is None:
            known = ", ".join(f"{each.number} ({each.outcome.value})" for each in self.all) or "none"
            wanted = f"no revision {to}" if to is not None else "no former revision that was ready"
            raise NoSuchRevision(f"{self.name} has {wanted} in {self.cluster.home}, its revisions are: {known}")
        return found

    def begin(self, objects: Sequence[Object], cause: str, began_at: str, restores: int = 0) -> Revision:
        """Keep what is about to be applied, as the next revision; raises AlreadyThere where another apply was first."""
        number = self.last.number + 1 if self.last else 1
        kept = [each for each in objects if each["kind"] != "Secret"]
        packed = _packed(kept)
        made = Revision(
            self.name, number, Outcome.APPLYING, cause, began_at, served(objects), restores=restores, packed=packed
        )
        try:
            self.cluster.create(_written(made))
        except AlreadyThere as first:
            raise AlreadyThere(
                f"another apply has just begun revision {number} of {self.name}: see headrace manifests status"
            ) from first
        self.all.append(made)
        return made

    def end(self, of: Revision, outcome: Outcome, reason: str = "") -> Revision:
        """Write down how an apply ended, and forget the oldest revisions."""
        self.cluster.merge(of.ref, {"data": {"outcome": outcome.value, "reason": reason}})
        ended = replace(of, outcome=outcome, reason=reason)
        self.all = [ended if each.number == of.number else each for each in self.all]
        self._forget()
        return ended

    def known(self) -> set[Ref]:
        """Return which objects any kept revision has."""
        return {ref_of(each) for revision in self.all for each in revision.objects()}

    def _forget(self) -> None:
        last_ready = self.before(self.all[-1].number + 1)
        for old in self.all[:-KEPT]:
            if last_ready is None or old.number != last_ready.number:
                self.cluster.delete(old.ref)
        kept = {each.number for each in self.all[-KEPT:]} | ({last_ready.number} if last_ready else set())
        self.all = [each for each in self.all if each.number in kept]


def sets_in(cluster: Cluster) -> list[str]:
    """Return the names of the sets that have revisions at home."""
    found = cluster.listed("v1", "ConfigMap", _OF)
    return sorted({labels_of(each)[_OF] for each in found})


def served(objects: Iterable[Mapping[str, Any]]) -> Served:
    """Return what the InferenceService of a set serves, by its own annotations or its predictor's."""
    for each in objects:
        if each["kind"] == INFERENCE_SERVICE:
            predictor = (each.get("spec") or {}).get("predictor") or {}
            said = {**(predictor.get("annotations") or {}), **annotations_of(each)}
            return Served(said.get(MODEL_VERSION, ""), said.get(FINGERPRINT, ""), said.get(FUNCTIONS, ""))
    return Served()


def same_objects(one: Sequence[Object], other: Sequence[Object]) -> bool:
    """Tell whether two sets are the same, Secrets left out."""
    return _digest(one) == _digest(other)


def _digest(objects: Sequence[Object]) -> str:
    kept = sorted((json.dumps(each, sort_keys=True) for each in objects if each["kind"] != "Secret"), key=str)
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def _packed(objects: Sequence[Object]) -> str:
    packed = base64.b64encode(gzip.compress(json.dumps(objects).encode(), mtime=0)).decode()
    if len(packed) > _LARGEST:
        raise RevisionUnusable(
            f"the set is {len(packed):,} bytes compressed, a revision can keep {_LARGEST:,}: put large files elsewhere "
            "than in ConfigMaps"
        )
    return packed


def _written(of: Revision) -> Object:
    data = {
        "set": of.set,
        "number": str(of.number),
        "outcome": of.outcome.value,
        "cause": of.cause,
        "began_at": of.began_at,
        "model_version": of.serves.model_version,
        "fingerprint": of.serves.fingerprint,
        "functions": of.serves.functions,
        "restores": str(of.restores),
        "reason": of.reason,
    }
    metadata = {"name": of.ref.name, "labels": {_OF: of.set, _MANAGED_BY: MANAGER}}
    kept = {"metadata": metadata, "data": data, "binaryData": {"objects": of.packed}}
    return {"apiVersion": "v1", "kind": "ConfigMap", **kept}


def _read(of: Mapping[str, Any]) -> Revision:
    data = of.get("data") or {}
    try:
        return Revision(
            data["set"],
            int(data["number"]),
            Outcome(data["outcome"]),
            data["cause"],
            data["began_at"],
            Served(data["model_version"], data["fingerprint"], data["functions"]),
            int(data["restores"]),
            data["reason"],
            (of.get("binaryData") or {}).get("objects", ""),
        )
    except (KeyError, ValueError) as broken:
        name = of["metadata"]["name"]
        raise RevisionUnusable(f"ConfigMap {name} is no revision any more ({broken}): delete it") from broken

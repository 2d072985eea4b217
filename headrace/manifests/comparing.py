"""What an apply would change, as the cluster itself says it: what it holds now beside what a server-side dry run makes.

Defaults that the cluster fills in are in both, so that only real differences are left. Values of Secrets are covered:
that one changed is said, what it is never.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import Absent, ClusterError, Conflict, KindUnknown, Owned, Refused
from headrace.manifests.documents import Object, write_yaml
from headrace.manifests.sets import Ref, declared, ref_of


class Action(Enum):
    """What an apply does to one object."""

    CREATE = "create"
    CHANGE = "change"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """What an apply would do to one object, and what stands in its way.

    `now` and `then` are the object before and after, None where there is none or the cluster cannot say yet.
    """

    ref: Ref
    action: Action
    wanted: Object = field(repr=False)
    now: Object | None = field(default=None, repr=False)
    then: Object | None = field(default=None, repr=False)
    owned: tuple[Owned, ...] = ()
    refused: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def diff(self) -> str:
        """The difference as lines of YAML, `-` and `+` before them; empty where there is none."""
        before, after = _covered(self.now, self.then if self.then is not None else self.wanted)
        lines = difflib.unified_diff(
            _lines(before), _lines(after), f"{self.ref} in the cluster", f"{self.ref} as declared"
        )
        return "\n".join(line.rstrip("\n") for line in lines)


def compared(cluster: Cluster, wanted: Object, coming: frozenset[tuple[str, str]] = frozenset()) -> Change:
    """Return what applying an object would do; raises ClusterError where the cluster cannot be asked.

    `coming` has the kind and name of the namespaces and kinds that the same set brings: what lies in them cannot be
    tried before they are there.
    """
    ref = ref_of(wanted)
    try:
        ref = cluster.resolved(ref)
    except KindUnknown as unknown:
        brought = ("CustomResourceDefinition", f"{ref.kind}.{ref.group}") in coming
        return Change(ref, Action.CREATE, wanted, refused="" if brought else str(unknown))
    now = cluster.get(ref)
    if now is None and ("Namespace", ref.namespace or "") in coming and not _has_namespace(cluster, ref):
        return Change(ref, Action.CREATE, wanted)
    try:
        tried, owned = _tried(cluster, wanted)
    except (Refused, Absent) as no:
        return Change(ref, Action.CREATE if now is None else Action.CHANGE, wanted, now, refused=str(no))
    action = Action.CREATE if now is None else Action.SAME if declared(now) == declared(tried[0]) else Action.CHANGE
    return Change(ref, action, wanted, now, tried[0], owned, warnings=tried[1])


def coming_with(objects: list[Object]) -> frozenset[tuple[str, str]]:
    """Return the namespaces and kinds that a set brings itself, as `compared` takes them."""
    spaces = {("Namespace", each["metadata"]["name"]) for each in objects if each["kind"] == "Namespace"}
    kinds = {
        ("CustomResourceDefinition", f"{each['spec']['names']['kind']}.{each['spec']['group']}")
        for each in objects
        if each["kind"] == "CustomResourceDefinition"
    }
    return frozenset(spaces | kinds)


def _tried(cluster: Cluster, wanted: Object) -> tuple[tuple[Object, tuple[str, ...]], tuple[Owned, ...]]:
    owned: tuple[Owned, ...] = ()
    try:
        tried = cluster.apply(wanted, dry_run=True)
    except Conflict as conflict:
        tried, owned = cluster.apply(wanted, dry_run=True, force=True), conflict.owned
    return (tried.object, tried.warnings), owned


def _has_namespace(cluster: Cluster, ref: Ref) -> bool:
    try:
        return cluster.get(Ref("v1", "Namespace", None, ref.namespace or "")) is not None
    except ClusterError:
        return True  # the dry run will tell


def _covered(now: Object | None, then: Object) -> tuple[Object | None, Object]:
    before, after = declared(now) if now is not None else None, declared(then)
    if after["kind"] != "Secret":
        return before, after
    for part in ("data", "stringData"):
        old, new = (before or {}).get(part) or {}, after.get(part) or {}
        if before is not None and part in before:
            before[part] = dict.fromkeys(old, "(covered)")
        if part in after:
            after[part] = {key: _cover(key, value, old) for key, value in new.items()}
    return before, after


def _cover(key: str, value: object, old: Mapping[str, object]) -> str:
    return "(covered)" if old.get(key, value) == value else "(covered, another value)"


def _lines(of: Object | None) -> list[str]:
    return [] if of is None else write_yaml([_sorted(of)]).splitlines(keepends=True)


def _sorted(value: Any, first: tuple[str, ...] = ("apiVersion", "kind", "metadata")) -> Any:
    if isinstance(value, list):
        return [_sorted(each, ()) for each in value]
    if not isinstance(value, dict):
        return value
    order = [*(key for key in first if key in value), *(key for key in sorted(value) if key not in first)]
    return {key: _sorted(value[key], ()) for key in order}

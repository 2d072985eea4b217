"""A set of objects, tried on the cluster before it is applied, applied in order, and cleared of what left it.

Nothing is changed unless the cluster accepted every object in a dry run. What is deleted is known by name: only objects
that a former revision of the set had, that carry its label still, and that hold no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import ClusterError, Forbidden, KindUnknown
from headrace.manifests.comparing import Action, Change, coming_with, compared
from headrace.manifests.documents import Object
from headrace.manifests.revisions import Revisions
from headrace.manifests.sets import (
    KEPT_KINDS,
    SET,
    Ref,
    checked,
    home_of,
    in_order,
    labels_of,
    place,
    ref_of,
    set_name,
    stamped,
)


class SetRefused(ClusterError):
    """Objects that the cluster would not take; nothing was changed. The text has all of them."""


@dataclass(frozen=True, slots=True)
class Set:
    """What is applied together: a name to find it again by, and its objects in the order they are applied."""

    name: str
    cluster: Cluster
    objects: list[Object]

    @classmethod
    def of(cls, objects: Sequence[Object], cluster: Cluster, name: str | None, namespace: str | None) -> Set:
        """Return a set, its objects stamped with its label; raises ObjectsUnusable where they are none."""
        found = checked(objects)
        named = set_name(found, name)
        home = home_of(found, namespace, cluster.home)
        return cls(named, cluster.at_home(home), [stamped(each, named) for each in in_order(found)])


def planned(of: Set) -> list[Change]:
    """Return what applying a set would do, object by object, in its order; raises ClusterError.

    What the account may not do is a refusal of that object, so that all of it is told at once.
    """
    coming = coming_with(of.objects)
    return [_planned(of.cluster, each, coming) for each in of.objects]


def refuse(changes: Sequence[Change], *, force: bool) -> None:
    """Raise SetRefused where the cluster would refuse an object, or has a field of it set by another manager."""
    lines = [f"{each.ref}: {each.refused}" for each in changes if each.refused]
    owned = [(each.ref, field) for each in changes for field in each.owned] if not force else []
    lines += [f"{ref}: {field.field} is set by {field.manager}" for ref, field in owned]
    if not lines:
        return
    hint = ""
    if owned:
        hint = (
            "\ntake the fields over by --force-conflicts, or leave them out of the manifests for their manager to set"
        )
        if any(field.field == ".spec.replicas" for _, field in owned):
            hint += "\n(an autoscaler sets .spec.replicas: leave it out)"
    raise SetRefused("nothing was changed:\n  " + "\n  ".join(lines) + hint)


def applied(of: Set, changes: Sequence[Change], tell: Callable[[Change], None], *, force: bool) -> set[Ref]:
    """Apply a set in its order and return what was made or changed; raises ClusterError, what came before stays."""
    done = set()
    for change in changes:
        tell(change)
        of.cluster.apply(change.wanted, force=force)
        if change.action is not Action.SAME:
            done.add(of.cluster.resolved(change.ref))
    return done


def left_over(of: Set, history: Revisions) -> Iterator[Ref]:
    """Yield the objects of former revisions that the set does not have, that are there still, and that are ours.

    What needs others comes first, as it must be deleted.
    """
    wanted = {_resolved(of.cluster, ref_of(each)) for each in of.objects}
    gone = {_resolved(of.cluster, ref) for ref in history.known()} - wanted - {None}
    for ref in sorted(filter(None, gone), key=lambda each: (-place(each.kind), each.name)):
        try:
            found = of.cluster.get(ref)
        except Forbidden:
            continue  # what may not be read may not be deleted either
        if found is not None and labels_of(found).get(SET) == of.name:
            yield ref


def pruned(of: Set, refs: Sequence[Ref], tell: Callable[[str], None]) -> int:
    """Delete objects that left a set, but for what holds data; return how many were deleted."""
    count = 0
    for ref in refs:
        if ref.kind in KEPT_KINDS:
            tell(f"kept {ref}: it may hold what is needed, delete it by hand")
        elif of.cluster.delete(ref):
            tell(f"deleted {ref}")
            count += 1
    return count


def _resolved(cluster: Cluster, ref: Ref) -> Ref | None:
    try:
        return cluster.resolved(ref)
    except KindUnknown:
        return None


def _planned(cluster: Cluster, wanted: Object, coming: frozenset[tuple[str, str]]) -> Change:
    try:
        return compared(cluster, wanted, coming)
    except Forbidden as forbidden:
        ref = _resolved(cluster, ref_of(wanted)) or ref_of(wanted)
        other = f"; or leave it to others by --without {ref.kind}" if ref.namespace is None else ""
        return Change(ref, Action.CHANGE, wanted, refused=f"{forbidden}{other}")

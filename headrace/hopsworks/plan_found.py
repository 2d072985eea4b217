"""What a cluster has of an application, read through the SDK and given as plain shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headrace.hopsworks.declared import Declared
from headrace.hopsworks.functions import Function
from headrace.hopsworks.plan_shapes import Column, GroupShape, ViewShape, mark_of
from headrace.hopsworks.session import HopsworksError, Session


@dataclass(frozen=True, slots=True)
class Found:
    """Feature groups and views by name and version, and the SDK's own objects of them.

    All versions of the declared names, and every group that bears the application's mark.
    """

    groups: dict[tuple[str, int], GroupShape]
    views: dict[tuple[str, int], ViewShape]
    objects: dict[tuple[str, str, int], Any]


def found(session: Session, declared: Declared) -> Found:
    """Read what the cluster has; raises HopsworksError."""
    got = Found({}, {}, {})
    store = session.feature_store
    with session.asking("read its feature groups"):
        names = {group.name for group in (*declared.events, *declared.groups)}
        for kept in _listed(store):
            if kept.name not in names and mark_of(kept.description)[0] == declared.application:
                names.add(kept.name)
        for name in sorted(names):
            _add(got, "feature group", _versions(store, name), got.groups, group_found)
    for view in (declared.view, declared.tiles_view):
        with session.asking(f"read feature view {view.name}"):
            _add(got, "feature view", _views(store, view.name), got.views, view_found)
    return got


def _add(got: Found, kind: str, kept: Iterable[Any], shapes: dict[tuple[str, int], Any], shape_of: Any) -> None:
    for each in kept or ():
        shapes[each.name, each.version] = shape_of(each)
        got.objects[kind, each.name, each.version] = each


def _listed(store: Any) -> list[Any]:
    try:
        groups: list[Any] = store.get_feature_groups()
    except (TypeError, KeyError, AttributeError):
        return []  # the SDK does not read a list in which other kinds of groups are; only what is left over goes unseen
    return groups


def _versions(store: Any, name: str) -> list[Any]:
    try:
        groups: list[Any] = store.get_feature_groups(name)
    except IndexError as broken:  # what the SDK raises where HUDI has no such column
        raise HopsworksError(f"feature group {name} is HUDI without a precombine key, the SDK needs one") from broken
    return groups


def _views(store: Any, name: str) -> list[Any]:
    try:
        views: list[Any] = store.get_feature_views(name)
    except ValueError as broken:  # what the SDK raises where a view's group is gone
        raise HopsworksError(
            f"feature view {name} is broken, a feature group that it joins is gone: delete the view in Hopsworks"
        ) from broken
    return views


def group_found(kept: Any) -> GroupShape:
    """Return the shape of a feature group as the SDK knows it."""
    stored = [feature for feature in kept.columns or () if not feature.on_demand]
    functions = {}
    for attached in getattr(kept, "transformation_functions", None) or ():
        udf = attached.hopsworks_udf
        for name in udf.output_column_names:
            source = udf.to_dict()["sourceCode"]
            functions[name] = Function(name, tuple(udf.unprefixed_transformation_features), source)
    return GroupShape(
        kept.name,
        kept.version,
        {feature.name: Column((feature.type or "").lower(), feature.online_type or "") for feature in stored},
        tuple(feature.name for feature in stored if feature.primary),
        kept.event_time or "",
        bool(kept.online_enabled),
        functions,
        kept.description or "",
    )


def view_found(kept: Any) -> ViewShape:
    """Return the shape of a feature view as the SDK knows it."""
    parts = [kept.query._left_feature_group, *(join.query._left_feature_group for join in kept.query._joins)]
    return ViewShape(
        kept.name,
        kept.version,
        tuple(feature.name for feature in kept.features),
        tuple(feature.name for feature in kept.features if feature.label),
        tuple(f"{group.name}_{group.version}" for group in parts),
        kept.description or "",
    )

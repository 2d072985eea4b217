"""Make a cluster have what is declared, through the SDK, one step after another.

Nothing is done while a conflict stands. A step that fails says what was done before it and what was
not; applying again goes on from there, and applying what is there already changes nothing.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from headrace.hopsworks.declared import Declared, FeatureGroup, View
from headrace.hopsworks.functions import functions_of
from headrace.hopsworks.plan import Change, Plan, Step, compared
from headrace.hopsworks.plan_found import Found, found
from headrace.hopsworks.plan_shapes import GroupShape
from headrace.hopsworks.session import HopsworksError, Session


def apply(
    session: Session, declared: Declared, *, prune: bool = False, tell: Callable[[Step], None] = lambda step: None
) -> Plan:
    """Take the steps of a plan and return it; `prune` also removes what is left over.

    `tell` is called with each step that was taken. Raises HopsworksError and NotDeclarable.
    """
    has = found(session, declared)
    steps = compared(declared, has)
    if steps.conflicts:
        said = "".join(f"\n  {step}" for step in steps.conflicts)
        raise HopsworksError(f"nothing was changed, needs these conflicts to be settled first:{said}")
    taken: list[Step] = []
    ahead = [*steps.to_do, *(steps.left_over if prune else ())]
    takes = _Steps(session, declared, has)
    for at, step in enumerate(ahead):
        try:
            with session.asking(f"{step.change.value} {step.kind} {step.name}"), _quiet():
                takes.take(step)
        except HopsworksError as failed:
            raise HopsworksError(f"{failed}; {_standing(taken, ahead[at:])}") from failed
        taken.append(step)
        tell(step)
    return steps


def _standing(taken: list[Step], left: list[Step]) -> str:
    done = ", ".join(f"{step.name} ({step.change.value})" for step in taken) or "nothing"
    undone = ", ".join(f"{step.name} ({step.change.value})" for step in left)
    return f"done before it: {done}; not done: {undone}; apply again to go on"


class _Steps:
    """How each kind of step is taken."""

    def __init__(self, session: Session, declared: Declared, has: Found) -> None:
        self._session, self._objects = session, has.objects
        self._groups = {(g.name, g.version): g for g in (*declared.events, *declared.groups)}
        self._views = {(view.name, view.version): view for view in (declared.view, declared.tiles_view)}

    def take(self, step: Step) -> None:
        at = (step.name, step.version)
        if step.change is Change.CREATE and at in self._views:
            self._create_view(self._views[at], step)
        elif step.change is Change.CREATE:
            self._create_group(self._groups[at], step)
        elif step.change is Change.APPEND:
            self._append(self._groups[at], step)
        elif step.change is Change.DESCRIBE:
            self._describe(step)
        elif step.change is Change.LEFT_OVER:
            self._object(step.kind, *at).delete()

    def _object(self, kind: str, name: str, version: int) -> Any:
        return self._objects[kind, name, version]

    def _create_group(self, group: FeatureGroup, step: Step) -> None:
        wanted = step.wanted
        assert isinstance(wanted, GroupShape)
        created = self._session.feature_store.create_feature_group(
            name=group.name,
            version=group.version,
            description=wanted.description,
            online_enabled=wanted.online,
            stream=True,
            # DELTA, the SDK's default, writes to HopsFS on creation; HUDI needs a key.
            time_travel_format="HUDI" if wanted.key else "NONE",
            primary_key=list(wanted.key),
            hudi_precombine_key=group.event_time if wanted.key else None,
            event_time=group.event_time,
            features=_features(group, tuple(wanted.columns)),
            transformation_functions=[function.udf() for function in functions_of(group)],
            statistics_config=False,
        )
        created.save()
        self._objects[step.kind, group.name, group.version] = created

    def _append(self, group: FeatureGroup, step: Step) -> None:
        self._object(step.kind, step.name, step.version).append_features(_features(group, step.columns))

    def _create_view(self, view: View, step: Step) -> None:
        query = None
        for join in view.joins:
            selected = self._object("feature group", join.group.name, join.group.version).select(list(join.columns))
            if query is None:
                query = selected
            else:
                query = query.join(selected, on=list(join.group.primary_key), join_type="left", prefix=join.prefix)
        self._session.feature_store.create_feature_view(
            name=view.name,
            version=view.version,
            query=query,
            labels=list(view.labels),
            description=step.wanted.description if step.wanted else "",
        )

    def _describe(self, step: Step) -> None:
        described, text = (
            self._object(step.kind, step.name, step.version),
            step.wanted.description if step.wanted else "",
        )
        if step.kind == "feature group":
            described.update_description(text)
        else:
            described.description = text
            described.update()


def _features(group: FeatureGroup, names: tuple[str, ...]) -> list[Any]:
    import hopsworks

    made = hopsworks.hsfs.feature.Feature  # imported by its dotted name it would be another class than the SDK's own
    return [
        made(feature.name, feature.type, primary=feature.primary, online_type=feature.online_type or None)
        for feature in group.features
        if feature.name in names
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

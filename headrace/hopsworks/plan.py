"""What would have to change for a cluster to have what is declared: a comparison of plain shapes.

A feature group grows by columns and is described anew; anything else that differs under the same
version is a conflict, because rows and models that exist were made under the old meaning. Nothing
is taken away: what this application declared once and does not declare now is shown as left over,
and removed only when that is asked for. Feature groups of events are history and never left over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from headrace.hopsworks.declared import Declared
from headrace.hopsworks.plan_found import Found, found
from headrace.hopsworks.plan_shapes import GroupShape, Shape, ViewShape, group_shape, mark_of, same_source, view_shape
from headrace.hopsworks.session import Session


class Change(Enum):
    """What a step does."""

    NONE = "unchanged"
    CREATE = "create"
    APPEND = "append"
    DESCRIBE = "describe"
    CONFLICT = "conflict"
    LEFT_OVER = "left over"


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between what is declared, `wanted`, and what is there, `kept`; `why` says it in words.

    `columns` are those that are appended.
    """

    change: Change
    kind: str
    name: str
    version: int
    why: str = ""
    wanted: Shape | None = None
    kept: Shape | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.change.value} {self.kind} {self.name} version {self.version}{self.why and f': {self.why}'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they can be taken: groups before the views that join them."""

    application: str
    steps: tuple[Step, ...]

    def of(self, *changes: Change) -> tuple[Step, ...]:
        """Return the steps of these kinds."""
        return tuple(step for step in self.steps if step.change in changes)

    @property
    def to_do(self) -> tuple[Step, ...]:
        """What `apply` does without being asked to remove anything."""
        return self.of(Change.CREATE, Change.APPEND, Change.DESCRIBE)

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """What cannot be done under the version that is declared."""
        return self.of(Change.CONFLICT)

    @property
    def left_over(self) -> tuple[Step, ...]:
        """What was declared once and is not any more: views first, as they hold on to groups."""
        return self.of(Change.LEFT_OVER)


def plan(session: Session, declared: Declared) -> Plan:
    """Ask a cluster what it has and return what differs; raises HopsworksError and NotDeclarable."""
    return compared(declared, found(session, declared))


def compared(declared: Declared, has: Found) -> Plan:
    """Return what differs between a declaration and what a cluster has; asks nobody."""
    groups = [group_shape(declared, group) for group in (*declared.events, *declared.groups)]
    views = [view_shape(declared, view) for view in (declared.view, declared.tiles_view)]
    steps = [_group_step(wanted, has.groups.get((wanted.name, wanted.version))) for wanted in groups]
    steps += [_view_step(wanted, has.views.get((wanted.name, wanted.version))) for wanted in views]
    steps += _left_over(declared, "feature view", has.views, {(shape.name, shape.version) for shape in views})
    steps += _left_over(declared, "feature group", has.groups, {(shape.name, shape.version) for shape in groups})
    return Plan(declared.application, tuple(steps))


def _group_step(wanted: GroupShape, kept: GroupShape | None) -> Step:
    if kept is None:
        return _step(Change.CREATE, wanted, None, f"{len(wanted.columns)} columns, {len(wanted.functions)} functions")
    if wrong := list(_group_conflicts(wanted, kept)):
        return _step(Change.CONFLICT, wanted, kept, "; ".join(wrong))
    new = tuple(name for name in wanted.columns if name not in kept.columns)
    if new:
        return _step(Change.APPEND, wanted, kept, ", ".join(new), new)
    return _described(wanted, kept)


def _group_conflicts(wanted: GroupShape, kept: GroupShape) -> Iterator[str]:
    yield from _mark_conflicts(wanted, kept)
    if wanted.online and not kept.online:
        yield "it is not online-enabled, needs online_enabled=True"
    if wanted.key != kept.key:
        yield f"its primary key is {', '.join(kept.key) or 'none'}, needs {', '.join(wanted.key) or 'none'}"
    if wanted.event_time != kept.event_time:
        yield f"its event time is {kept.event_time or 'none'}, needs {wanted.event_time}"
    for name, column in wanted.columns.items():
        there = kept.columns.get(name)
        if there is not None and there.type != column.type:
            yield f"column {name} is {there.type}, needs {column.type}"
        elif there is not None and wanted.online and there.room < column.room:
            yield f"column {name} is {there.online_type or 'without length'} online, needs {column.online_type}"
    yield from _function_conflicts(wanted, kept)


def _function_conflicts(wanted: GroupShape, kept: GroupShape) -> Iterator[str]:
    if absent := [name for name in wanted.functions if name not in kept.functions]:
        called = "function" if len(absent) == 1 else "functions"
        yield f"it has no {called} {', '.join(absent)}: a new function is a new version of the feature group"
    for name in (name for name in wanted.functions if name in kept.functions):
        function, there = wanted.functions[name], kept.functions[name]
        if there.inputs != function.inputs:
            yield f"function {name} reads {', '.join(there.inputs)}, needs {', '.join(function.inputs)}"
        elif not same_source(there.source, function.source):
            yield f"function {name} has another source than is declared, a changed function is a new group version"


def _mark_conflicts(wanted: GroupShape, kept: GroupShape) -> Iterator[str]:
    (application, declared), (owner, fingerprint) = mark_of(wanted.description), mark_of(kept.description)
    if not declared:
        return
    if not fingerprint:
        yield (
            "its description carries no fingerprint, so what its rows mean is not known: declare another version, "
            f"or end the description with [headrace {application} {declared}] if they are of this declaration"
        )
    elif fingerprint != declared:
        yield (
            f"it was declared as {fingerprint} by {owner}, now {declared}: a changed parameter is a new group version, "
            f"raise version={kept.version} in its declaration"
        )


def _view_step(wanted: ViewShape, kept: ViewShape | None) -> Step:
    if kept is None:
        return _step(Change.CREATE, wanted, None, f"{len(wanted.columns)} columns of {', '.join(wanted.groups)}")
    wrong = list(_view_conflicts(wanted, kept))
    if wrong:
        wrong.append(f"a feature view cannot be changed, raise version={kept.version} of the view")
        return _step(Change.CONFLICT, wanted, kept, "; ".join(wrong))
    return _described(wanted, kept)


def _view_conflicts(wanted: ViewShape, kept: ViewShape) -> Iterator[str]:
    if wanted.groups != kept.groups:
        yield f"it joins {', '.join(kept.groups)}, needs {', '.join(wanted.groups)}"
    elif wanted.columns != kept.columns:
        absent = [name for name in wanted.columns if name not in kept.columns]
        more = [name for name in kept.columns if name not in wanted.columns]
        if absent:
            yield f"it lacks {_few(absent)}"
        if more:
            yield f"it has {_few(more)}, which is not declared"
        if not absent and not more:
            yield "its columns are in another order"
    if wanted.labels != kept.labels:
        yield f"its labels are {', '.join(kept.labels) or 'none'}, needs {', '.join(wanted.labels) or 'none'}"


def _described(wanted: Shape, kept: Shape) -> Step:
    if wanted.description != kept.description and _is_ours(wanted, kept):
        return _step(Change.DESCRIBE, wanted, kept, "its description is another")
    return _step(Change.NONE, wanted, kept, "")


def _is_ours(wanted: Shape, kept: Shape) -> bool:
    # What others wrote stays, or two applications would describe a group they share in turns.
    owner = mark_of(kept.description)[0]
    if isinstance(wanted, GroupShape) and not mark_of(wanted.description)[0]:
        return not kept.description  # events are everybody's
    return owner in ("", mark_of(wanted.description)[0])


def _left_over(
    declared: Declared, kind: str, has: Mapping[tuple[str, int], Shape], wanted: set[tuple[str, int]]
) -> list[Step]:
    return [
        Step(Change.LEFT_OVER, kind, *at, "declared once, not any more; removed with --prune", kept=shape)
        for at, shape in sorted(has.items())
        if at not in wanted and mark_of(shape.description)[0] == declared.application
    ]


def _step(change: Change, wanted: Shape, kept: Shape | None, why: str, columns: tuple[str, ...] = ()) -> Step:
    return Step(change, wanted.kind, wanted.name, wanted.version, why, wanted, kept, columns)


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""What an application is in Hopsworks: its feature groups and views, as plain data.

A windowed group becomes an online feature group `<group>_fg`: the entity key, the newest event's
time, every windowed statistic as of that event for everybody to read, and one binary column
`tiles`, the group's record as the embedded store keeps it, for us. A stream becomes a feature group
`<stream>_fg` of its events, from which training frames are made. Two views are read at request
time: `<app>_fv`, of the readable columns and the on-demand functions, and `<app>_tiles_fv`, of the
tiles alone. Both begin at the stream of the labels (the first stream where there is none), which
carries the key of every group; columns of a joined group are prefixed by the group's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headrace.application import Application
from headrace.features.columns import Column
from headrace.features.on_demand import OnDemand
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup
from headrace.stores.rondb.view import LONGEST_KEY

TILES = "tiles"
#: What RonDB holds of one row, in bytes.
LONGEST_ROW = 30_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
#: The type of a column in Hopsworks, by dtype.
TYPES = {"float64": "double", "int64": "bigint", "bool": "boolean", "timestamp": "timestamp", "string": "string"}


class NotDeclarable(ValueError):
    """An application cannot be declared in Hopsworks; the text says what it has and what is needed."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of a feature group; `type` and `online_type` are Hopsworks' own names."""

    name: str
    type: str
    online_type: str = ""
    primary: bool = False


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """A feature group: of a windowed group's records (`of` is the group), or of a stream's events.

    `on_demand` are the functions that are registered with it, as its UDFs.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    event_time: str
    of: WindowedGroup | Stream
    on_demand: tuple[OnDemand, ...] = ()
    meaning: str = ""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns a row is known by."""
        return tuple(feature.name for feature in self.features if feature.primary)


@dataclass(frozen=True, slots=True)
class Join:
    """Columns of a feature group in a view: of the group that rows begin with, or joined by its key, under a prefix."""

    group: FeatureGroup
    columns: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A feature view: the first join is the root, `labels` are those of its columns that are learnt."""

    name: str
    version: int
    joins: tuple[Join, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """All that Hopsworks is to know of an application; see the module."""

    application: str
    events: tuple[FeatureGroup, ...]
    groups: tuple[FeatureGroup, ...]
    view: View
    tiles_view: View

    @classmethod
    def of(cls, app: Application) -> Declared:
        """Declare an application; raises NotDeclarable.

        >>> from applications.fraud.app import APP
        >>> [group.name for group in Declared.of(APP).groups]
        ['card_activity_fg', 'terminal_risk_fg']
        """
        functions = [column for column in app.view.columns if isinstance(column, OnDemand)]
        groups = tuple(_group_of(app, group, _owned(app, group, functions)) for group in app.groups)
        events = tuple(_events_of(stream) for stream in app.streams)
        root = next(group for group in events if group.of is app.stream(app.label_stream or app.streams[0].name))
        absent = [group.key for group in app.groups if group.key not in {f.name for f in root.features}]
        if absent:
            raise NotDeclarable(
                f"the events of {root.name} lack {', '.join(absent)}, "
                "a view that begins with them needs every group's key"
            )
        labels = (app.label,) if app.label else ()
        return cls(
            app.name,
            events,
            groups,
            _view(f"{app.name}_fv", app, root, labels, groups, readable=True),
            _view(f"{app.name}_tiles_fv", app, root, labels, groups, readable=False),
        )


def _group_of(app: Application, group: WindowedGroup, on_demand: tuple[OnDemand, ...]) -> FeatureGroup:
    if group.layout.size > LONGEST_ROW // 2:
        raise NotDeclarable(
            f"a record of group {group.name!r} takes {group.layout.size:,} bytes, "
            f"Hopsworks' online store needs at most {LONGEST_ROW // 2:,}: fewer windows, statistics or sketches"
        )
    features = (
        _event_feature(app.stream(group.stream).column(group.key), primary=True),
        Feature(_named(group.time), "timestamp", "timestamp"),
        *(Feature(_named(name), "double", "double") for name in group.column_names),
        Feature(TILES, "binary", f"varbinary({group.layout.size})"),
    )
    name = _named(f"{group.name}_fg")
    return FeatureGroup(name, group.version, features, group.time, group, on_demand, group.meaning)


def _events_of(stream: Stream) -> FeatureGroup:
    features = tuple(_event_feature(column, column.name == stream.id) for column in stream.columns)
    return FeatureGroup(_named(f"{stream.name}_fg"), 1, features, stream.time, stream, meaning="The events themselves.")


def _event_feature(column: Column, primary: bool) -> Feature:
    kind = TYPES[column.dtype]
    return Feature(_named(column.name), kind, f"varchar({LONGEST_KEY})" if kind == "string" else kind, primary)


def _view(
    name: str,
    app: Application,
    root: FeatureGroup,
    labels: tuple[str, ...],
    groups: tuple[FeatureGroup, ...],
    *,
    readable: bool,
) -> View:
    joins = [Join(root, labels or (root.event_time,))]
    for group in groups:
        own = [f.name for f in group.features if f.name != TILES and not f.primary]
        columns = (*own, *(f.name for f in group.on_demand)) if readable else (TILES,)
        joins.append(Join(group, tuple(columns), f"{group.of.name}_"))
    return View(_named(name), app.view.version, tuple(joins), labels)


def _owned(app: Application, group: WindowedGroup, functions: list[OnDemand]) -> tuple[OnDemand, ...]:
    """Return the functions that read this group, those that read a request alone with the first group."""
    return tuple(f for f in functions if _owner(app, f) == group.name)


def _owner(app: Application, function: OnDemand) -> str:
    read = [origin for origin in (source.partition(".")[0] for source in function.inputs) if origin != "request"]
    if len(set(read)) > 1:
        raise NotDeclarable(
            f"on-demand function {function.name!r} reads {', '.join(sorted(set(read)))}, "
            "a function of Hopsworks needs all it reads in one feature group"
        )
    return read[0] if read else app.groups[0].name


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NotDeclarable(
            f"{name!r} cannot be a name in Hopsworks, needs lower-case letters, digits and underscores, "
            "a letter first and at most 63 in all"
        )
    return name

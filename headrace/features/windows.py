"""Windows over event time, kept as tiles and merged when they are read.

Time is epoch milliseconds, UTC; tiles are aligned to the epoch. A window of length L
with tiles of length T, read at `as_of`, covers `floor(as_of - L to T) <= t < as_of`: the
tail is rounded down to a tile, the head is exact. A window delayed by D covers
`floor(as_of - D - L to T) <= t < floor(as_of - D to T)`: both ends are rounded down.

Each window has a ring of slots; the tile with index i lives in slot `i mod slots`. A tile is
over when the key has one in the same ring that is as many tiles newer as there are slots, or
more: whether or not its own slot was filled anew, it is no longer counted, and an event whose
tile is over in every window is too late. The rings are long enough that no tile a window can still
cover is over because of an event of now or before; because of one from the future, within its
stream's tolerance, the oldest tiles are over, as many as it is ahead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.features import aggregates, batches
from headrace.features.columns import NO_TIME, some
from headrace.features.layout import Layout
from headrace.features.tiles import KEPT, NO_TILE, PLAIN, Shape, Slots, Tiles


@dataclass(frozen=True, slots=True)
class Window:
    """A length of event time, in milliseconds, with the tile it is rounded to.

    >>> Window("10m", 600_000).tile_ms
    50000
    >>> Window("1d", 86_400_000, delay_ms=7 * 86_400_000).slots
    97
    """

    label: str
    length_ms: int
    delay_ms: int = 0
    tile_ms: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tile_ms", self.tile_ms or max(1, self.length_ms // 12))
        if self.length_ms <= 0 or self.delay_ms < 0 or not 0 < self.tile_ms <= self.length_ms:
            raise ValueError(
                f"window {self.label!r} has length {self.length_ms}, delay {self.delay_ms} and tile {self.tile_ms} ms, "
                "needs a positive length, no negative delay, and a tile no longer than the window"
            )

    @property
    def slots(self) -> int:
        """How many tiles the ring keeps: all that a read can cover, and the one being filled."""
        return math.ceil((self.length_ms + self.delay_ms) / self.tile_ms) + 1


@dataclass(frozen=True, slots=True)
class WindowedGroup:
    """What is kept per entity: statistics of one value over windows, and the newest event's columns.

    `stream` is the topic it is computed from; `key`, `time` and `value` are columns of that
    stream. `last` names further columns whose value in the newest event is kept. `missing`
    stands for a statistic without a value in a model's input. `stats` are among count, sum,
    mean, std, min, max, last, distinct and the quantiles p1 to p99; each slot of each window
    takes 8 bytes for most, 256 for `distinct`, and 512 for all quantiles together.
    """

    name: str
    version: int
    stream: str
    key: str
    time: str
    value: str
    stats: tuple[str, ...]
    windows: tuple[Window, ...]
    last: tuple[str, ...] = ()
    missing: float = math.nan
    unit: str = ""
    meaning: str = ""
    layout: Layout = field(init=False, repr=False, compare=False)
    column_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    fields: tuple[str, ...] = field(init=False, repr=False, compare=False)
    plan: Slots = field(init=False, repr=False, compare=False)
    tiles: Tiles = field(init=False, repr=False, compare=False)
    shape: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unknown = [stat for stat in self.stats if stat not in aggregates.NEEDS]
        if unknown or not self.windows or not self.stats:
            raise ValueError(
                f"group {self.name!r} has statistics {self.stats} over {len(self.windows)} windows, "
                f"needs at least one window and statistics among {aggregates.KNOWN}"
            )
        windowed = [f"{self.value}_{stat}_{window.label}" for window in self.windows for stat in self.stats]
        names = (*windowed, *(f"last_{name}" for name in self.last))
        if len(set(names)) != len(names):
            raise ValueError(
                f"group {self.name!r} names a column twice, needs distinct windows, statistics and columns"
            )
        object.__setattr__(self, "column_names", names)
        object.__setattr__(self, "fields", aggregates.fields_of(self.stats))
        object.__setattr__(self, "plan", Slots.of(self.windows))
        object.__setattr__(self, "layout", _layout(self))
        object.__setattr__(self, "tiles", Tiles.of(self.plan, self.fields, self.layout))
        object.__setattr__(self, "shape", _shape(self))

    def describe(self) -> dict[str, Any]:
        """Return the declaration as plain data: what identifies the group's values."""
        windows = [[w.label, w.length_ms, w.delay_ms, w.tile_ms] for w in self.windows]
        return {
            "name": self.name,
            "version": self.version,
            "stream": self.stream,
            "key": self.key,
            "time": self.time,
            "value": self.value,
            "stats": list(self.stats),
            "windows": windows,
            "last": list(self.last),
        }

    def own(self, records: np.ndarray) -> np.ndarray:
        """Return records [n], those of another layout made empty in place."""
        foreign = ~self.layout.known(records)
        if some(foreign):
            records[foreign] = self.empty(int(np.count_nonzero(foreign)))
        return records

    def empty(self, rows: int) -> np.ndarray:
        """Return `rows` records in which nothing was counted."""
        records = np.zeros(rows, dtype=self.layout.dtype)
        records["layout"] = self.layout.fingerprint
        records["newest_ms"] = NO_TIME
        records["tile"] = NO_TILE
        for name in self.fields:
            records[name] = aggregates.FIELDS[name][1]
        if self.last:
            records["last_columns"] = np.nan
        return records


def _layout(group: WindowedGroup) -> Layout:
    slots = group.plan.total
    columns: list[tuple[Any, ...]] = [("newest_ms", "<i8"), ("tile", "<i8", (slots,))]
    columns += [_column(name, slots) for name in group.fields]
    if group.last:
        columns.append(("last_columns", "<f8", (len(group.last),)))
    return Layout.of(group.describe(), columns)


def _column(name: str, slots: int) -> tuple[Any, ...]:
    of = np.dtype(aggregates.FIELDS[name][0])
    return name, of.base.newbyteorder("<").str, (slots, *of.shape)


def _shape(group: WindowedGroup) -> Shape:
    tiles, plan = group.tiles, group.plan
    rings = np.stack((tiles.rings[:, 0], plan.sizes, plan.tile_ms, plan.tail_ms, plan.delay_ms), axis=1)
    return Shape(
        fingerprint=int(group.layout.fingerprint.view(np.int64)),
        newest=tiles.newest,
        last=tiles.last,
        lasts=len(group.last),
        rings=np.ascontiguousarray(rings, dtype=np.int64),
        gaps=np.array([tiles.gap.get(name, 0) for name in KEPT], dtype=np.int64),
        stats=np.array([PLAIN.index(stat) if stat in PLAIN else -1 for stat in group.stats], dtype=np.int64),
    )


def words_of(group: WindowedGroup, records: np.ndarray) -> np.ndarray:
    """Return records [n] as the words they consist of, int64 [n, words]; a view where they lie one after another."""
    return np.ascontiguousarray(records).view(np.int64).reshape(records.size, group.tiles.width)


def merge(group: WindowedGroup, records: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    """Read every window of every record at its own instant.

    `records` is [n] of the group's layout (records of any other are empty), `as_of` int64 [n]. A record's
    `newest_ms` says which windows are over. Returns float64 [n, columns] in the order of `group.column_names`; NaN is
    missing.
    """
    from headrace.features import merging  # half a second that most commands need not wait

    out = np.empty((records.size, len(group.column_names)))
    merging.merge(group.shape, words_of(group, records), as_of, out)
    if group.tiles.sketches:
        _merge_sketches(group, records, as_of, out)
    return out


def _merge_sketches(group: WindowedGroup, records: np.ndarray, as_of: np.ndarray, out: np.ndarray) -> None:
    plan, width = group.plan, len(group.windows) * len(group.stats)
    kept = plan.covered(records["tile"], as_of) & group.layout.known(records)[:, None]
    summary = aggregates.total(records, tuple(group.tiles.sketches), kept, plan.starts, plan.window)
    for at, stat in enumerate(group.stats):
        if stat not in PLAIN:
            out[:, at : width : len(group.stats)] = aggregates.finish(stat, summary)


def seen(group: WindowedGroup, records: np.ndarray, as_of: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell of records [n] read at `as_of`, int64 [n], what a reader should know beside their values.

    Returns bool [n], whether any event was found; float64 [n], how many ms before the read the newest one was (0
    where it was not, NaN where there is none); and bool [n], whether the head is exact: the newest one was before.
    """
    from headrace.features import merging  # see merge

    found, exact, age_ms = np.empty(records.size, bool), np.empty(records.size, bool), np.empty(records.size)
    merging.seen(group.shape, words_of(group, records), as_of, found, age_ms, exact)
    return found, age_ms, exact


def fold(group: WindowedGroup, records: np.ndarray, row: np.ndarray, events: Mapping[str, np.ndarray]) -> np.ndarray:
    """Add a batch of events to the records of their keys, in place.

    `records` are of the group's layout; `row[i]` is the record of event i; `events` holds the
    group's time (int64 epoch milliseconds), value and last columns (float64), each [n], in
    order of arrival. Returns a bool [n]: the events that are too late for every window.
    """
    times, values = events[group.time], np.asarray(events[group.value], dtype=np.float64)
    if not times.size:
        return np.zeros(0, dtype=bool)
    packed = np.ascontiguousarray(records)
    last = [events[name] for name in group.last]
    if group.tiles.sketches:
        too_late = batches.fold(group.tiles, packed, row, times, values, last)
    else:
        from headrace.features import kernels  # see merge

        too_late = np.empty(times.size, dtype=bool)
        columns = np.empty((len(last), times.size))
        for at, column in enumerate(last):
            columns[at] = column
        kernels.fold(group.shape, words_of(group, packed), row, times, values, columns, too_late)
    if packed is not records:
        records[...] = packed
    return too_late

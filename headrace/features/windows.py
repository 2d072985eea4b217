"""Windows over event time, kept as tiles and merged when they are read.

Time is epoch milliseconds, UTC; tiles are aligned to the epoch. A window of length L
with tiles of length T, read at `as_of`, covers `floor(as_of - L to T) <= t < as_of`: the
tail is rounded down to a tile, the head is exact. A window delayed by D covers
`floor(as_of - D - L to T) <= t < floor(as_of - D to T)`: both ends are rounded down.

Each window has a ring of slots; the tile with index i lives in slot `i mod slots`, and
a slot holds the newest tile that maps to it. An event whose tile has been replaced in
every window is too late. The rings are long enough that no tile a window can still
cover is replaced by an event of now or before; an event from the future, within its
stream's tolerance, takes the places of the oldest tiles, as many as it is ahead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.features import aggregates
from headrace.features.columns import NO_TIME
from headrace.features.layout import Layout

#: The index of a tile that was never filled; below that of any instant.
NO_TILE = np.iinfo(np.int64).min


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
    stands for a statistic without a value in a model's input.
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
    plan: _Slots = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unknown = [stat for stat in self.stats if stat not in aggregates.NEEDS]
        if unknown or not self.windows or not self.stats:
            raise ValueError(
                f"group {self.name!r} has statistics {self.stats} over {len(self.windows)} windows, "
                f"needs at least one window and statistics among {tuple(aggregates.NEEDS)}"
            )
        windowed = [f"{self.value}_{stat}_{window.label}" for window in self.windows for stat in self.stats]
        names = (*windowed, *(f"last_{name}" for name in self.last))
        if len(set(names)) != len(names):
            raise ValueError(
                f"group {self.name!r} names a column twice, needs distinct windows, statistics and columns"
            )
        object.__setattr__(self, "column_names", names)
        object.__setattr__(self, "fields", aggregates.fields_of(self.stats))
        object.__setattr__(self, "plan", _Slots.of(self.windows))
        object.__setattr__(self, "layout", _layout(self))

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


@dataclass(frozen=True, slots=True)
class _Slots:
    """Where each window's slots lie in a record, resolved once."""

    total: int
    starts: np.ndarray  # [windows] first slot of each window
    window: np.ndarray  # [slots] which window a slot belongs to
    tile_ms: np.ndarray  # [windows]
    tail_ms: np.ndarray  # [windows] delay + length
    delay_ms: np.ndarray  # [windows]
    delayed: np.ndarray  # [windows]

    @classmethod
    def of(cls, windows: tuple[Window, ...]) -> _Slots:
        sizes = np.array([w.slots for w in windows])
        delay = np.array([w.delay_ms for w in windows], dtype=np.int64)
        return cls(
            total=int(sizes.sum()),
            starts=np.concatenate(([0], np.cumsum(sizes)[:-1])),
            window=np.repeat(np.arange(len(windows)), sizes),
            tile_ms=np.array([w.tile_ms for w in windows], dtype=np.int64),
            tail_ms=np.array([w.length_ms for w in windows], dtype=np.int64) + delay,
            delay_ms=delay,
            delayed=delay > 0,
        )

    def bounds(self, as_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the past-the-last tile index of each window, [n, windows] each."""
        first = (as_of[:, None] - self.tail_ms) // self.tile_ms
        # An undelayed head is exact: the tile holding as_of - 1 ms is the last one covered.
        head = np.where(self.delayed, as_of[:, None] - self.delay_ms, as_of[:, None] + self.tile_ms - 1)
        return first, head // self.tile_ms


def _layout(group: WindowedGroup) -> Layout:
    slots = group.plan.total
    columns: list[tuple[Any, ...]] = [("newest_ms", "<i8"), ("tile", "<i8", (slots,))]
    columns += [(name, "<" + aggregates.FIELDS[name][0], (slots,)) for name in group.fields]
    if group.last:
        columns.append(("last_columns", "<f8", (len(group.last),)))
    return Layout.of(group.describe(), columns)


def merge(group: WindowedGroup, records: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    """Read every window of every record at its own instant.

    `records` is [n] of the group's layout (records of any other are empty), `as_of` int64 [n].
    Returns float64 [n, columns] in the order of `group.column_names`; NaN is missing.
    """
    plan, stats = group.plan, len(group.stats)
    first, past = plan.bounds(as_of)
    tile = records["tile"]
    kept = (tile >= first[:, plan.window]) & (tile < past[:, plan.window])
    known = records["layout"] == group.layout.fingerprint
    if not known.all():
        kept &= known[:, None]
    summary = aggregates.total(records, group.fields, kept, plan.starts, plan.window)
    out = np.empty((records.size, len(group.column_names)))
    width = len(group.windows) * stats
    for at, stat in enumerate(group.stats):
        out[:, at:width:stats] = aggregates.finish(stat, summary)
    if group.last:
        out[:, width:] = np.where(known[:, None], records["last_columns"], np.nan)
    return out


def read_is_exact(records: np.ndarray, as_of: np.ndarray) -> np.ndarray:
    """Tell which reads have an exact head: those after the newest event of their key, bool [n]."""
    return as_of > records["newest_ms"]


def fold(group: WindowedGroup, records: np.ndarray, row: np.ndarray, events: Mapping[str, np.ndarray]) -> np.ndarray:
    """Add a batch of events to the records of their keys, in place.

    `row[i]` is the record of event i; `events` holds the group's time (int64 epoch
    milliseconds), value and last columns (float64), each [n], in order of arrival.
    Returns a bool [n]: the events that are too late for every window.
    """
    times, values = events[group.time], events[group.value]
    if not times.size:
        return np.zeros(0, dtype=bool)
    order = np.lexsort((times, row))  # stable: equal times stay in order of arrival
    by_arrival = np.argsort(row, kind="stable")
    ordered = bool(np.array_equal(order, by_arrival))
    counted = ~np.isnan(values)
    too_late = np.ones(times.size, dtype=bool)
    for at in range(len(group.windows)):
        late = _late(group, at, records, row, times, None if ordered else counted)
        too_late &= late
        mine = order[(counted & ~late)[order]]
        if mine.size:
            _fold_window(group, at, records, row[mine], times[mine], values[mine])
    _fold_newest(group, records, row[order], times[order], {name: events[name][order] for name in group.last})
    return too_late


def _late(
    group: WindowedGroup, at: int, records: np.ndarray, row: np.ndarray, times: np.ndarray, counted: np.ndarray | None
) -> np.ndarray:
    """Tell which events come after their slot went on to a newer tile, in the store or within the batch."""
    window, start = group.windows[at], group.plan.starts[at]
    tile = times // window.tile_ms
    slot = tile % window.slots
    late = tile < records["tile"][row, start + slot]
    if counted is None:
        return late
    place = row * window.slots + slot
    by_place = np.argsort(place, kind="stable")
    runs = np.cumsum(np.r_[0, np.diff(place[by_place]) != 0])
    lowest = tile.min()
    lift = runs * (tile.max() - lowest + 1)
    # A null event fills no tile, so nothing is late because of it.
    filled = np.where(counted, tile, lowest)[by_place]
    newest = np.maximum.accumulate(filled - lowest + lift) - lift + lowest
    late[by_place] |= tile[by_place] < newest
    return late


def _fold_window(
    group: WindowedGroup, at: int, records: np.ndarray, row: np.ndarray, times: np.ndarray, values: np.ndarray
) -> None:
    window, start = group.windows[at], int(group.plan.starts[at])
    tile = times // window.tile_ms
    starts = np.flatnonzero(np.r_[True, (np.diff(row) != 0) | (np.diff(tile) != 0)])
    fresh = aggregates.of(group.fields, values, times, starts)
    row, tile = row[starts], tile[starts]
    slot = start + tile % window.slots
    newest = _last_of_each(row * group.plan.total + slot)
    if newest.size < row.size:
        row, tile, slot = row[newest], tile[newest], slot[newest]
        fresh = {name: column[newest] for name, column in fresh.items()}
    same = records["tile"][row, slot] == tile
    held = {name: np.where(same, records[name][row, slot], aggregates.FIELDS[name][1]) for name in group.fields}
    for name, column in aggregates.add(held, fresh).items():
        records[name][row, slot] = column
    records["tile"][row, slot] = tile


def _last_of_each(place: np.ndarray) -> np.ndarray:
    """Return, in ascending order, the index of the last occurrence of each distinct place."""
    _, first_from_end = np.unique(place[::-1], return_index=True)
    return np.sort(place.size - 1 - first_from_end)


def _fold_newest(
    group: WindowedGroup, records: np.ndarray, row: np.ndarray, times: np.ndarray, last: Mapping[str, np.ndarray]
) -> None:
    ends = np.flatnonzero(np.r_[np.diff(row) != 0, True])
    newer = ends[times[ends] >= records["newest_ms"][row[ends]]]
    records["newest_ms"][row[newer]] = times[newer]
    for at, name in enumerate(group.last):
        records["last_columns"][row[newer], at] = last[name][newer]

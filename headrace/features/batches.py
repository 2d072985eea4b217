"""A batch of events into the tiles of its keys by array operations: every window, field and key at once.

Groups with sketches are folded so, and a property test compares it with the compiled fold.
Events are sorted once by record and time; a change of record or tile along [windows, events]
bounds the runs; each run becomes one summary, is added to what its slot holds, and all slots
are written together. Runs of tiles that are over are left out; no two of the rest share a slot.
Nothing here loops over events, keys or windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.features import aggregates
from headrace.features.tiles import Tiles

_NARROW = 1 << 16  # fewer records are sorted by radix, in a twelfth of the time


def fold(
    tiles: Tiles,
    records: np.ndarray,
    row: np.ndarray,
    times: np.ndarray,
    values: np.ndarray,
    last: Sequence[np.ndarray],
) -> np.ndarray:
    """Add events to records, in place; see `windows.fold`. Returns who was too late for every window, bool [n].

    `records` is [m], contiguous; `row`, `times` (int64), `values` and each of `last` are [n], n > 0.
    """
    words = records.view("<i8")
    order = _order(row, times, records.size)
    rows, sorted_times, sorted_values = row[order], times[order], values[order]
    same_row = rows[1:] == rows[:-1]
    _fold_newest(tiles, words, rows, sorted_times, same_row, order, last)
    behind = int((words[rows * tiles.width + tiles.newest] - sorted_times).max())
    front = tiles.front(words) if behind > tiles.slots.lap_ms else None  # else no tile is over
    too_late = np.zeros(times.size, dtype=bool)
    if front is not None and behind > tiles.slots.longest_lap_ms:
        too_late = _too_late(tiles, front, row, times, ~np.isnan(values))
    if (null := np.isnan(sorted_values)).any():
        rows, sorted_times, sorted_values = rows[~null], sorted_times[~null], sorted_values[~null]
        same_row = rows[1:] == rows[:-1]
    if rows.size:
        _Runs.of(tiles, words, rows, same_row, sorted_times, sorted_values).write(tiles, words, front)
    return too_late


def _order(row: np.ndarray, times: np.ndarray, rows: int) -> np.ndarray:
    """Sort by record and then by time; equal times stay in order of arrival."""
    by_time = times.argsort(kind="stable")
    by_row = row.astype(np.uint16) if rows <= _NARROW else row
    return by_time[by_row[by_time].argsort(kind="stable")]


def _fold_newest(
    tiles: Tiles,
    words: np.ndarray,
    rows: np.ndarray,
    times: np.ndarray,
    same_row: np.ndarray,
    order: np.ndarray,
    last: Sequence[np.ndarray],
) -> None:
    ends = np.append(~same_row, True).nonzero()[0]
    record, times = rows[ends] * tiles.width, times[ends]
    newer = times >= words[record + tiles.newest]
    if not newer.all():
        ends, record, times = ends[newer], record[newer], times[newer]
    words[record + tiles.newest] = times
    source, floats = order[ends], words.view("<f8")
    for at, column in enumerate(last):
        floats[record + (tiles.last + at)] = column[source]


@dataclass(slots=True)
class _Runs:
    """Summaries of consecutive events of one record and tile, in order of window, record and tile."""

    window: np.ndarray
    row: np.ndarray
    tile: np.ndarray
    place: np.ndarray  # the word its tile's index lies in
    fresh: aggregates.Summary

    @classmethod
    def of(
        cls,
        tiles: Tiles,
        words: np.ndarray,
        rows: np.ndarray,
        same_row: np.ndarray,
        times: np.ndarray,
        values: np.ndarray,
    ) -> _Runs:
        tile, place = tiles.places(rows, times)
        new = np.ones(tile.shape, dtype=bool)
        new[:, 1:] = (tile[:, 1:] != tile[:, :-1]) | ~same_row
        starts = new.ravel().nonzero()[0]
        windows = len(new)
        fresh = aggregates.of(
            (*tiles.fields, *tiles.sketches),
            np.concatenate((values,) * windows),
            np.concatenate((times,) * windows),
            starts,
        )
        window, event = np.divmod(starts, rows.size)
        return cls(window, rows[event], tile.ravel()[starts], place.ravel()[starts], fresh)

    def write(self, tiles: Tiles, words: np.ndarray, front: np.ndarray | None) -> None:
        """Add each run to its slot, but those whose tile is over: by the `front` before the batch, or because of it."""
        if front is not None:
            np.maximum.at(front, (self.window, self.row), self.tile)
            self._keep(front[self.window, self.row] < self.tile + tiles.slots.sizes[self.window])
        held = words[self.place]
        words[self.place] = self.tile
        at = self.place + tiles.gaps
        bits = np.where(held == self.tile, words[at], tiles.empty)
        named = {name: bits[i].view(aggregates.FIELDS[name][0]) for i, name in enumerate(tiles.fields)}
        sketched = {name: tiles.sketch(name, self.place) for name in tiles.sketches}
        for name, where in sketched.items():
            blank = np.where((held == self.tile)[:, None], words[where], 0)
            named[name] = blank.view(self.fresh[name].dtype)
        for name, column in aggregates.add(named, self.fresh).items():
            named[name][:] = column
        words[at] = bits
        for name, where in sketched.items():
            words[where] = named[name].view("<i8")

    def _keep(self, kept: np.ndarray) -> None:
        self.window, self.row, self.tile, self.place = (
            each[kept] for each in (self.window, self.row, self.tile, self.place)
        )
        self.fresh = {name: column[kept] for name, column in self.fresh.items()}


def _too_late(tiles: Tiles, front: np.ndarray, row: np.ndarray, times: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Tell which events, in order of arrival, came after their tile of every window was over.

    It was over in the store, by its `front`, or became so within the batch; an event that is not `counted` (null)
    fills no tile, so nothing is late because of it.
    """
    tile = times // tiles.tile_ms
    ranks, rank = np.unique(tile, return_inverse=True)
    filled = np.where(counted, rank.reshape(tile.shape), 0)
    by_row = row.argsort(kind="stable")
    lift = np.concatenate(([0], (np.diff(row[by_row]) != 0).cumsum())) * ranks.size
    newest = np.empty_like(tile)
    newest[:, by_row] = ranks[np.maximum.accumulate(filled[:, by_row] + lift, axis=1) - lift]
    over = np.maximum(newest, front[:, row]) >= tile + tiles.sizes
    return over.all(axis=0)

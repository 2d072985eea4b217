"""A batch of events into the tiles of its keys by array operations: every window, field and key at once.

Groups with sketches are folded so, and a property test compares it with the compiled fold.
Events are sorted once by record and time; a change of record or tile along [windows, events]
bounds the runs; each run becomes one summary, is added to what its slot holds, and all slots
are written together. A slot holds the newest tile that maps to it, so of the runs that
compete for a slot only the newest tile's is written. Nothing here loops over events, keys or windows.
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
    in_order = bool((order[1:] > order[:-1])[same_row].all())
    _fold_newest(tiles, words, rows, sorted_times, same_row, order, last)
    null = np.isnan(sorted_values)
    nulls = bool(null.any())
    if nulls:
        rows, sorted_times, sorted_values = rows[~null], sorted_times[~null], sorted_values[~null]
        same_row = rows[1:] == rows[:-1]
    span = int(times.max()) - int(times.min())
    runs = _Runs.of(tiles, words, rows, same_row, sorted_times, sorted_values) if rows.size else None
    too_late = np.zeros(times.size, dtype=bool)
    if nulls or (runs is not None and runs.late.any()) or not (in_order or span <= tiles.slots.longest_lap_ms):
        too_late = _too_late(tiles, words, row, times, None if in_order else ~np.isnan(values), span)
    if runs is not None:
        runs.write(tiles, words, span > tiles.slots.lap_ms)
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

    tile: np.ndarray
    place: np.ndarray  # the word its tile's index lies in
    held: np.ndarray  # the tile its slot holds before the batch
    late: np.ndarray  # bool: its slot had gone on to a newer tile
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
        tile, place = tile.ravel()[starts], place.ravel()[starts]
        held = words[place]
        windows = len(new)
        fresh = aggregates.of(
            (*tiles.fields, *tiles.sketches),
            np.concatenate((values,) * windows),
            np.concatenate((times,) * windows),
            starts,
        )
        return cls(tile, place, held, tile < held, fresh)

    def write(self, tiles: Tiles, words: np.ndarray, wide: bool) -> None:
        """Add each run to its slot, but those late and those of a tile that a newer one of the batch replaces."""
        kept = ~self.late
        if wide:
            words[self.place[kept]] = self.tile[kept]  # in ascending order: the newest is written last
            kept &= words[self.place] == self.tile
        if not kept.all():
            self._keep(kept)
        words[self.place] = self.tile
        at = self.place + tiles.gaps
        bits = np.where(self.held == self.tile, words[at], tiles.empty)
        named = {name: bits[i].view(aggregates.FIELDS[name][0]) for i, name in enumerate(tiles.fields)}
        sketched = {name: tiles.sketch(name, self.place) for name in tiles.sketches}
        for name, where in sketched.items():
            blank = np.where((self.held == self.tile)[:, None], words[where], 0)
            named[name] = blank.view(self.fresh[name].dtype)
        for name, column in aggregates.add(named, self.fresh).items():
            named[name][:] = column
        words[at] = bits
        for name, where in sketched.items():
            words[where] = named[name].view("<i8")

    def _keep(self, kept: np.ndarray) -> None:
        self.tile, self.place, self.held = self.tile[kept], self.place[kept], self.held[kept]
        self.fresh = {name: column[kept] for name, column in self.fresh.items()}


def _too_late(
    tiles: Tiles, words: np.ndarray, row: np.ndarray, times: np.ndarray, counted: np.ndarray | None, span: int
) -> np.ndarray:
    """Tell which events came after their slot of every window went on to a newer tile.

    That is so in the store, and, where `counted` (not null) is given, within the batch in its order of arrival.
    """
    if counted is None or span <= tiles.slots.longest_lap_ms:
        # Hardly an event is late for the longest window; one that is not is not too late.
        tile, place = tiles.places(row, times, tiles.slots.longest)
        suspects = tile[0] < words[place[0]]
        if not suspects.any():
            return suspects
    tile, place = tiles.places(row, times)
    late = tile < words[place]
    if counted is not None and span > tiles.slots.lap_ms:
        late |= _replaced(tile, place, counted)
    return late.all(axis=0)


def _replaced(tile: np.ndarray, place: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Tell of which events, in order of arrival, an earlier one filled the place with a newer tile."""
    ranks, rank = np.unique(tile, return_inverse=True)
    # A null event fills no tile, so nothing is late because of it.
    filled = np.where(counted, rank.reshape(tile.shape), 0).ravel()
    flat = place.ravel()
    by_place = flat.argsort(kind="stable")
    place_of = flat[by_place]
    lift = np.concatenate(([0], (place_of[1:] != place_of[:-1]).cumsum())) * ranks.size
    newest = np.maximum.accumulate(filled[by_place] + lift) - lift
    out = np.empty(flat.size, dtype=bool)
    out[by_place] = rank.ravel()[by_place] < newest
    return out.reshape(tile.shape)

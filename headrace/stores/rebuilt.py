"""Windows of any instant by rebuilding, for each row, the tiles that an online record would have held.

The way of groups whose statistics are more than sums and extremes (sketches): whatever a tile can keep,
this can read back, at the price of a dozen tiles per window and row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headrace.features import aggregates
from headrace.features.windows import WindowedGroup, merge

_CHUNK = 2048  # rows whose tiles are in memory together: about 7 MiB for a wide group


@dataclass(slots=True)
class _Tiles:
    """The tiles of one window over all history, in order of key and time."""

    tile: np.ndarray  # [tiles] its tile index
    of_event: np.ndarray  # [events] which tile, by its place in `tile`, an event is in
    whole: aggregates.Summary  # [tiles]
    running: aggregates.Summary  # [events] from the tile's first event up to and with this one

    @classmethod
    def of(
        cls, fields: tuple[str, ...], key: np.ndarray, values: np.ndarray, times: np.ndarray, tile_ms: int
    ) -> _Tiles:
        tile = times // tile_ms
        new = np.ones(tile.size, dtype=bool)
        new[1:] = (np.diff(tile) != 0) | (np.diff(key) != 0)
        starts = np.flatnonzero(new)
        whole = aggregates.of(fields, values, times, starts) if starts.size else {}
        return cls(tile[starts], np.cumsum(new) - 1, whole, _running(fields, values, times, starts))


@dataclass(slots=True)
class Rebuilt:
    """One group's events in order of key and time, and the tiles of each of its windows."""

    group: WindowedGroup
    tiles: list[_Tiles]

    @classmethod
    def of(cls, group: WindowedGroup, key: np.ndarray, times: np.ndarray, values: np.ndarray) -> Rebuilt:
        """Summarise every tile of counted events, each [n], sorted by key (a number) and time."""
        return cls(group, [_Tiles.of(group.fields, key, values, times, w.tile_ms) for w in group.windows])

    def read(self, low: np.ndarray, high: np.ndarray, as_of: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the merged windows of rows [m, columns], some rows at a time; the last columns are missing.

        A row has the counted events [low, high), those of its key before `as_of`.
        """
        group = self.group
        for start in range(0, as_of.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            out = group.empty(as_of[part].size)
            out["newest_ms"] = as_of[part] - 1  # at most: no window that may cover something is to be taken for over
            oldest, _ = group.plan.bounds(as_of[part])
            for at, (window, first, tiles) in enumerate(zip(group.windows, group.plan.starts, self.tiles, strict=True)):
                slots = slice(first, first + window.slots)
                _fill(out, slots, group.fields, tiles, low[part], high[part], oldest[:, at])
            yield part, merge(group, out, as_of[part])


def _fill(
    out: np.ndarray,
    slots: slice,
    fields: tuple[str, ...],
    tiles: _Tiles,
    low: np.ndarray,
    high: np.ndarray,
    oldest: np.ndarray,
) -> None:
    """Put the tiles from `oldest` on of events [low, high) of each row into its slots, the newest first.

    Most rows have events in few of a window's tiles, so only these are touched.
    """
    some = np.flatnonzero(high > low)
    if not some.size:
        return
    head, tail = tiles.of_event[high[some] - 1], tiles.of_event[low[some]]
    count = np.minimum(head - tail + 1, slots.stop - slots.start)
    row = np.repeat(some, count)
    back = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)  # 0 is the tile the row is in
    index = np.repeat(head, count) - back
    kept = np.flatnonzero(tiles.tile[index] >= oldest[row])
    row, back, index = row[kept], back[kept], index[kept]
    slot, own = slots.start + back, np.flatnonzero(back == 0)
    out["tile"][row, slot] = tiles.tile[index]
    for name in fields:
        values = tiles.whole[name][index]
        values[own] = tiles.running[name][high[row[own]] - 1]
        out[name][row, slot] = values


def _running(fields: tuple[str, ...], values: np.ndarray, times: np.ndarray, starts: np.ndarray) -> aggregates.Summary:
    """Summarise every prefix of every run by doubling: W. Hillis, G. Steele, "Data Parallel Algorithms" (1986)."""
    if not values.size:
        return {}
    every = np.arange(values.size)
    out = aggregates.of(fields, values, times, every)
    depth = every - np.repeat(starts, np.diff(np.append(starts, values.size)))  # events of the run before this one
    step = 1
    while step <= depth.max():
        here = np.flatnonzero(depth >= step)
        earlier = {name: out[name][here - step] for name in out}
        for name, merged in aggregates.add(earlier, {name: out[name][here] for name in out}).items():
            out[name][here] = merged
        step *= 2
    return out

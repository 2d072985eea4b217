"""One group's history in order of key and time, read at any instant.

In this order the events that a window covers at an instant lie one after another: they are the
range from the tile that the window's tail is rounded down to, up to the instant (or to the tile
that a delayed window's head is rounded down to). Statistics of a range are exact, so they do not
depend on where history begins, ends or is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.features.windows import WindowedGroup
from headrace.stores.ranges import LARGEST, Sums, extremes
from headrace.stores.rebuilt import Rebuilt

#: Statistics that are read from ranges; a group with any other rebuilds its tiles.
RANGED = frozenset({"count", "sum", "mean", "std", "min", "max", "last"})
#: Before any instant a client can name, and far enough from the least integer to subtract a window.
_EARLIEST = -(2**62)
_MOST_PLACES = 2**62
_ROWS = 1 << 16  # rows whose bounds and values are in memory together
_EVENTS = 1 << 20  # events after which rows are cut, so that few rows do not hold all history in memory
_REBUILT_EVENTS = 1 << 14  # likewise, where each event holds the running summaries of its tiles
_CACHED = 1 << 14  # rows summed at once: their columns stay in the processor's cache


@dataclass(slots=True)
class _Places:
    """Numbers that sort as (key, time) does: times shifted, or ranked where a product would not fit."""

    first_ms: int
    stride: int
    instants: np.ndarray | None

    @classmethod
    def of(cls, keys: int, times: np.ndarray) -> _Places:
        first, last = (int(times.min()), int(times.max())) if times.size else (0, 0)
        stride = last - first + 2
        if keys * stride < _MOST_PLACES:
            return cls(first, stride, None)
        instants = np.unique(times)
        return cls(0, instants.size + 1, instants)

    def __call__(self, code: np.ndarray, times: np.ndarray) -> np.ndarray:
        if self.instants is not None:
            return code * self.stride + np.searchsorted(self.instants, times)
        return code * self.stride + np.clip(times - self.first_ms, 0, self.stride - 1)


@dataclass(slots=True)
class Timeline:
    """A group's events, each [events], sorted; of equal times the later arrival comes last."""

    group: WindowedGroup
    keys: np.ndarray  # distinct, sorted
    starts: np.ndarray  # [keys + 1] first event of each key
    places: _Places
    place: np.ndarray
    times: np.ndarray
    values: np.ndarray
    last: dict[str, np.ndarray]
    counted: np.ndarray | None  # [events + 1] how many of the events before have a value; None where all have one

    @classmethod
    def of(cls, group: WindowedGroup, events: Mapping[str, np.ndarray]) -> Timeline:
        """Sort the events of a stream, given in order of arrival."""
        times = np.asarray(events[group.time], dtype=np.int64)
        keys, code = coded(np.asarray(events[group.key]))
        places = _Places.of(keys.size, times)
        place = places(code, times)
        order = _stable_order(place)
        needed = {name: np.asarray(events[name], dtype=np.float64) for name in (group.value, *group.last)}
        if order is not None:
            place, times, code = place[order], times[order], code[order]
            needed = {name: column[order] for name, column in needed.items()}
        starts = np.searchsorted(code, np.arange(keys.size + 1))
        null = np.isnan(needed[group.value])
        counted = np.concatenate(([0], np.cumsum(~null))) if null.any() else None
        last = {name: needed[name] for name in group.last}
        return cls(group, keys, starts, places, place, times, needed[group.value], last, counted)

    def read(
        self, keys: np.ndarray, as_of: np.ndarray, unknown: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield which rows were read, and their values float64 [rows, columns] as `merge` would give them.

        Rows come in order of key and time, each once. Those marked `unknown` have no key.
        """
        code = _codes(self.keys, keys)
        seen = code >= 0
        if unknown is not None:
            seen &= ~unknown
        code, as_of = np.maximum(code, 0), np.maximum(as_of, _EARLIEST)
        order, limit = np.argsort(self.places(code, as_of)), _EVENTS if self._ranged else _REBUILT_EVENTS
        for start in range(0, order.size, _ROWS):
            part = order[start : start + _ROWS]
            begin = self.starts[code[part]] if self.keys.size else np.zeros(part.size, dtype=np.int64)
            newest = np.searchsorted(self.place, self.places(code[part], as_of[part]))
            newest = np.where(seen[part], newest, begin)
            cuts = np.flatnonzero(np.diff(newest // limit)) + 1
            for piece in np.split(np.arange(part.size), cuts):
                rows = part[piece]
                yield rows, self._block(code[rows], as_of[rows], begin[piece], newest[piece])

    def _block(self, code: np.ndarray, as_of: np.ndarray, begin: np.ndarray, newest: np.ndarray) -> np.ndarray:
        group = self.group
        out = np.empty((len(group.column_names), as_of.size))
        windowed = len(group.windows) * len(group.stats)
        some = newest > begin
        at_newest = np.maximum(newest - 1, 0)
        for at, name in enumerate(group.last):
            out[windowed + at] = np.where(some, self._at(self.last[name], at_newest), np.nan)
        if not self._ranged or (np.abs(self.values[int(begin.min()) : int(newest.max())]) >= LARGEST).any():
            self._rebuild(out, as_of, begin, newest)
        else:
            low, high = self._bounds(code, as_of, begin, newest)
            if self.counted is not None:
                low, high = self.counted[low], self.counted[high]
            self._ranges(out[:windowed], low, high)
        return out.T

    def _bounds(
        self, code: np.ndarray, as_of: np.ndarray, begin: np.ndarray, newest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the past-the-last event of every window, [windows, rows] each."""
        windows, from_event = self.group.windows, int(begin.min())
        low = np.empty((len(windows), as_of.size), dtype=np.int64)
        high = np.tile(newest, (len(windows), 1))
        near = self.place[from_event : int(newest.max())]

        def before(instant: np.ndarray) -> np.ndarray:
            found: np.ndarray = _found(near, self.places(code, instant)) + from_event
            return np.clip(found, begin, newest, out=found)

        for at, window in enumerate(windows):  # by one tile length at a time, which is how NumPy divides fast
            tile_ms = window.tile_ms
            low[at] = before((as_of - (window.delay_ms + window.length_ms)) // tile_ms * tile_ms)
            if window.delay_ms:
                high[at] = before((as_of - window.delay_ms) // tile_ms * tile_ms)
        return low, high

    def _ranges(self, out: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Put the statistics of every window's range of counted events into `out` [windows * stats, rows]."""
        stats, (windows, rows) = self.group.stats, low.shape
        into = {stat: out[at :: len(stats)] for at, stat in enumerate(stats)}
        nearest, furthest = int(low.min()), int(high.max())
        values = self._counted(self.values, nearest, furthest)
        low, high = low - nearest, high - nearest
        if "count" in into:
            into["count"][:] = high - low
        if not {"min", "max"}.isdisjoint(stats):
            least, most = extremes(values, low.ravel(), high.ravel())
            for stat, found in (("min", least), ("max", most)):
                if stat in into:
                    into[stat][:] = np.where(np.isinf(found), np.nan, found).reshape(windows, rows)
        if "last" in into:
            last = values[np.maximum(high - 1, 0)] if values.size else np.nan
            into["last"][:] = np.where(high > low, last, np.nan)
        if not {"sum", "mean", "std"}.isdisjoint(stats):
            longest = int((high - low).max())
            sums = Sums.of(values, self._runs(nearest, furthest), longest, squares="std" in stats)
            for window in range(windows):
                for start in range(0, rows, _CACHED):
                    part = slice(start, start + _CACHED)
                    columns = {stat: column[window, part] for stat, column in into.items()}
                    _put_moments(columns, sums, low[window, part], high[window, part])

    def _rebuild(self, out: np.ndarray, as_of: np.ndarray, begin: np.ndarray, newest: np.ndarray) -> None:
        """Put the statistics of rebuilt tiles into `out` [columns, rows], and leave the last columns."""
        first = self._counted_index(begin)
        low, high = first - int(first.min()), self._counted_index(newest) - int(first.min())
        nearest, furthest = int(first.min()), int(first.min()) + int(high.max())
        key = np.repeat(np.arange(self.keys.size), np.diff(self._counted_index(self.starts).clip(nearest, furthest)))
        values = self._counted(self.values, nearest, furthest)
        rebuilt = Rebuilt.of(self.group, key, self._counted(self.times, nearest, furthest), values)
        width = len(self.group.windows) * len(self.group.stats)
        for part, merged in rebuilt.read(low, high, as_of):
            out[:width, part] = merged[:, :width].T

    @property
    def _ranged(self) -> bool:
        return RANGED.issuperset(self.group.stats)

    def _at(self, column: np.ndarray, index: np.ndarray) -> np.ndarray:
        return column[index] if column.size else np.full(index.size, np.nan)

    def _counted_index(self, index: np.ndarray) -> np.ndarray:
        return index if self.counted is None else self.counted[index]

    def _counted(self, column: np.ndarray, first: int, past: int) -> np.ndarray:
        """Return a column of the counted events [first, past)."""
        if self.counted is None:
            return column[first:past]
        low, high = np.searchsorted(self.counted, (first, past), side="left")
        return column[low:high][np.diff(self.counted[low : high + 1]) > 0]

    def _runs(self, first: int, past: int) -> np.ndarray:
        """Return where each key's counted events begin among those of [first, past)."""
        starts = np.unique(np.clip(self._counted_index(self.starts), first, past)) - first
        return starts[starts < past - first]


def _found(near: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted place would be; those wanted next to one another are often equal, and looked up once."""
    new = np.concatenate(([True], wanted[1:] != wanted[:-1]))
    distinct = wanted[new]
    if distinct.size * 2 > wanted.size:
        return np.searchsorted(near, wanted)
    return np.searchsorted(near, distinct)[np.cumsum(new) - 1]


def _put_moments(columns: Mapping[str, np.ndarray], sums: Sums, low: np.ndarray, high: np.ndarray) -> None:
    total, spread = sums.between(low, high)
    count = (high - low).astype(np.float64)
    if "sum" in columns:
        columns["sum"][:] = total
    if "mean" in columns:
        columns["mean"][:] = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    if spread is not None:
        columns["std"][:] = np.where(count > 1, np.sqrt(spread / np.maximum(count - 1.0, 1.0)), np.nan)


def coded(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys sorted, and the place of each key among them.

    >>> coded(np.array([7, 3, 7]))
    (array([3, 7]), array([1, 0, 1]))
    """
    if keys.size and (keys[1:] >= keys[:-1]).all():
        new = np.concatenate(([True], keys[1:] != keys[:-1]))
        return keys[new], np.cumsum(new) - 1
    found = pa.array(keys).dictionary_encode()  # by hashes, several times as fast as by sorting
    distinct = found.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(distinct, kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return distinct[order], rank[found.indices.to_numpy()]


def _codes(distinct: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the place of each key among distinct ones, -1 where it is not there."""
    if not distinct.size:
        return np.full(keys.size, -1, dtype=np.int64)
    found = pc.index_in(pa.array(keys), value_set=pa.array(distinct))
    codes: np.ndarray = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return codes


def _stable_order(place: np.ndarray) -> np.ndarray | None:
    """Return the order of ascending places, equal ones in the order given; None where they are so already."""
    if (place[1:] >= place[:-1]).all():
        return None
    order = np.argsort(place)  # not stable, and several times as fast: equal places are put right after it
    ordered = place[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if same.size:
        tied = np.union1d(same, same + 1)
        order[tied] = order[tied][np.lexsort((order[tied], ordered[tied]))]
    return order

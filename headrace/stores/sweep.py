"""Events and rows of one group in order of key and time, swept together once: a timeline at a time.

What a row needs of history lies behind it, no further than its longest window reaches. So only
that much is carried from one timeline to the next, also inside a key that has more events than memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.history import Columns
from headrace.stores.timeline import Timeline

#: The columns of a row: its key, its instant and its number.
KEY, AS_OF, ROW = "key", "as_of", "row"
#: Events in memory beyond those that the next row reaches back to.
EVENTS = 1 << 20


def read_sorted(
    group: WindowedGroup, events: Iterator[Columns], rows: Iterator[Columns]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of rows and their values of the group, float64 [n, its columns], each row once.

    `events` are batches of the group's key, time, value and last columns, `rows` of KEY, AS_OF and
    ROW, both sorted by key and time; neither batch is empty.
    """
    behind = _Behind(group, events)
    for batch in rows:
        start = 0
        while start < batch[ROW].size:
            key, as_of = batch[KEY][start:], batch[AS_OF][start:]
            behind.reach(key[0], int(as_of[0]), key[-1], int(as_of[-1]))
            stop = start + behind.answered(key, as_of)
            if stop > start:
                numbers = batch[ROW][start:stop]
                timeline = Timeline.of(group, behind.held)
                for part, values in timeline.read(batch[KEY][start:stop], batch[AS_OF][start:stop]):
                    yield numbers[part], values
            start = stop


class _Behind:
    """The events behind the rows that come next."""

    def __init__(self, group: WindowedGroup, events: Iterator[Columns]) -> None:
        self._group, self._events = group, events
        self._reach_ms = max(window.delay_ms + window.length_ms + window.tile_ms for window in group.windows)
        self.held: dict[str, np.ndarray] = {}
        self._ended = False

    def reach(self, key: object, as_of: int, last_key: object, last_as_of: int) -> None:
        """Forget what lies behind a first row, and read on until past a last one or EVENTS are held."""
        parts = [self._kept(key, as_of)] if self.held else []
        size = parts[0][self._group.key].size if parts else 0
        limit = size + EVENTS
        while not self._ended and size < limit:
            batch = next(self._events, None)
            if batch is None:
                self._ended = True
            else:
                parts.append(dict(batch))
                size += batch[self._group.key].size
                at = (batch[self._group.key][-1], int(batch[self._group.time][-1]))
                if at >= (last_key, last_as_of):  # type: ignore[operator]
                    break
        if len(parts) == 1:
            self.held = parts[0]
        elif parts:
            self.held = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        else:
            nothing = np.zeros(0, dtype=np.int64)
            self.held = dict.fromkeys(
                (self._group.key, self._group.time, self._group.value, *self._group.last), nothing
            )

    def answered(self, key: np.ndarray, as_of: np.ndarray) -> int:
        """Return how many of these rows have all they need among the events held."""
        if self._ended:
            return key.size
        keys, times = self.held[self._group.key], self.held[self._group.time]
        return _first_after(key, as_of, keys[-1], int(times[-1]))

    def _kept(self, key: object, as_of: int) -> dict[str, np.ndarray]:
        keys, times = self.held[self._group.key], self.held[self._group.time]
        if not keys.size or keys[-1] < key:  # type: ignore[operator]
            return {name: column[:0] for name, column in self.held.items()}
        begin = int(np.searchsorted(keys, key))  # type: ignore[call-overload]
        reached = _first_after(keys, times, key, as_of - self._reach_ms - 1)
        newest = _first_after(keys, times, key, as_of - 1) - 1  # its last columns are read however old it is
        first = max(begin, min(reached, newest))
        return {name: column[first:] for name, column in self.held.items()}


def _first_after(keys: np.ndarray, times: np.ndarray, key: object, time: int) -> int:
    """Return how many of the sorted (key, time) are at or before one."""
    low, high = (int(np.searchsorted(keys, key, side=side)) for side in ("left", "right"))  # type: ignore[call-overload]
    return low + int(np.searchsorted(times[low:high], max(time, -(2**63)), side="right"))

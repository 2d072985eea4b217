"""Which events repeat one that was counted: ids remembered for a horizon of event time.

The rule follows the order of arrival and nothing else, so it does not depend on how events are
cut into batches. `newest` is the latest event time that has arrived, the arriving event's own
included. An id is remembered, with the time t of the event that was counted, until
`newest > t + horizon`. An event whose id is remembered when it arrives repeats it: it is not
counted, and the memory stays as it is. Beyond the horizon a repeated event may count again, and
an event that arrives more than the horizon behind `newest` counts without being remembered.

Ids are uint64 [n, 2]: 128 bits each, the first 64 spread evenly. Times are epoch milliseconds.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from headrace.features.columns import NO_TIME, some

_FEW = 64  # events that plain Python handles faster than arrays do
_SINGLE = 16  # and those that it handles faster one by one
_RECENT = 16_384  # ids kept in a dictionary before they are sorted into a run
_SETTLED = 1 << 18  # ids of a run that is not merged with another, unless there are many more
_LONGEST = 2**62  # milliseconds; a horizon beyond is no different
_LEAST_MARKS = 1 << 18
_BIT = 1 << np.arange(8).astype(np.uint8)

Times = TypeVar("Times", int, np.ndarray)


def remembered_since(newest: Times, horizon_ms: int) -> Times:
    """Return the earliest time that is still remembered when the latest to arrive is `newest`, int or int64 [n]."""
    return newest - min(horizon_ms, _LONGEST)


def repeats(ids: np.ndarray, at: np.ndarray, since: np.ndarray, repeated: np.ndarray) -> None:
    """Set `repeated`, bool [n], for events that repeat an earlier one of these which was counted.

    `since`, int64 [n], is the earliest time an id is remembered from when each event arrives;
    events that are set already repeat one counted before all of these.
    """
    rows = _more_than_once(ids)
    if not rows.size:
        return
    counted: dict[bytes, int] = {}
    given = (rows.tolist(), keys_of(ids[rows]), at[rows].tolist(), since[rows].tolist(), repeated[rows].tolist())
    for row, key, instant, floor, known in zip(*given, strict=True):
        if known or counted.get(key, NO_TIME) >= floor:
            repeated[row] = True
        else:
            counted[key] = instant


def keys_of(ids: np.ndarray) -> list[bytes]:
    """Return each id as 16 bytes."""
    keys: list[bytes] = np.ascontiguousarray(ids).view("V16").ravel().tolist()
    return keys


def _more_than_once(ids: np.ndarray) -> np.ndarray:
    """Return, in order, the rows whose first half another row has too; the halves behind it may yet differ."""
    if len(ids) < _FEW and len(set(ids[:, 0].tolist())) == len(ids):
        return np.empty(0, dtype=np.intp)
    order = ids[:, 0].argsort()
    ordered = ids[:, 0].take(order)
    same = ordered[1:] == ordered[:-1]
    if not some(same):
        return np.empty(0, dtype=np.intp)
    shared = np.zeros(len(ids), dtype=bool)
    shared[order[1:][same]] = shared[order[:-1][same]] = True
    return np.flatnonzero(shared)


class Memory:
    """The ids of one stream that are remembered, in about 32 bytes each.

    Recent ids are in a dictionary, older ones in sorted runs of which two of like size are merged
    into one (a log-structured merge tree: P. O'Neil and others, 1996), up to a sixteenth of all. A
    table of marks tells of most new ids that no run need be searched (B. Bloom, 1970, with one hash).

    >>> memory = Memory(horizon_ms=1_000)
    >>> ids, at = np.array([[7, 0], [8, 0], [7, 0]], dtype=np.uint64), np.array([100, 200, 200])
    >>> memory.repeated(ids, at, newest=at).tolist()
    [False, False, True]
    """

    def __init__(self, horizon_ms: int) -> None:
        self.newest_ms: int = NO_TIME
        self.horizon_ms = horizon_ms
        self._recent: dict[bytes, int] = {}
        self._runs: list[_Run] = []
        self._marks = _Marks(0)

    def __len__(self) -> int:
        """How many ids are held, some of them beyond the horizon."""
        return len(self._recent) + sum(run.size for run in self._runs)

    @property
    def since_ms(self) -> int:
        """The earliest time of an id that is remembered."""
        return remembered_since(max(self.newest_ms, NO_TIME + _LONGEST), self.horizon_ms)

    def repeated(self, ids: np.ndarray, at: np.ndarray, newest: np.ndarray) -> np.ndarray:
        """Return which events repeat one remembered or counted before them here, bool [n]; nothing is remembered by it.

        `newest`, int64 [n], is the latest time that has arrived with each event.
        """
        since = remembered_since(newest, self.horizon_ms)
        if len(ids) < _SINGLE and self._new(ids):
            return np.zeros(len(ids), dtype=bool)
        repeated = self._times(ids) >= since
        repeats(ids, at, since, repeated)
        return repeated

    def add(self, ids: np.ndarray, at: np.ndarray, newest_ms: int) -> None:
        """Remember ids that were counted at these times, up to the latest time that has arrived."""
        self.newest_ms = max(self.newest_ms, newest_ms)
        old = at < self.since_ms
        if some(old):
            ids, at = ids[~old], at[~old]
        if not len(ids):
            return
        if len(ids) >= _RECENT // 8:
            for start in range(0, len(ids), _SETTLED):
                run = _Run.of(ids[start : start + _SETTLED], at[start : start + _SETTLED])
                self._mark(run.heads)
                self._push(run)
            return
        self._mark(ids[:, 0])
        self._recent.update(zip(keys_of(ids), at.tolist(), strict=True))
        if len(self._recent) >= _RECENT:
            ids, at = self._settled()
            self._recent = {}
            self._push(_Run.of(ids, at))

    def _new(self, ids: np.ndarray) -> bool:
        """Tell whether these ids, surely, were never held and differ from each other; False where it is not sure."""
        heads = ids[:, 0].tolist()
        return len(set(heads)) == len(heads) and not any(map(self._marks.one_maybe, heads))

    def _times(self, ids: np.ndarray) -> np.ndarray:
        """Return the latest time each id was counted at, NO_TIME where it is not held."""
        times = np.full(len(ids), NO_TIME, dtype=np.int64)
        maybe = self._marks.maybe(ids[:, 0])
        if not maybe.size:
            return times
        some = ids.take(maybe, axis=0)
        found = np.array([self._recent.get(key, NO_TIME) for key in keys_of(some)], dtype=np.int64)
        for run in self._runs:
            run.find(some, found)
        times[maybe] = found
        return times

    def _push(self, run: _Run) -> None:
        """Add a run; of two neighbours the later is at most half as long, or both together are too long."""
        since, longest = self.since_ms, max(_SETTLED, len(self) // 16)
        runs = [*(known for known in self._runs if known.newest >= since), run]
        while len(runs) > 1 and runs[-2].size < 2 * runs[-1].size and runs[-2].size + runs[-1].size <= longest:
            later, earlier = runs.pop(), runs.pop()
            runs.append(earlier.merged(later, since))
        self._runs = [run for run in runs if run.size]

    def _mark(self, heads: np.ndarray) -> None:
        if self._marks.are_full(heads.size):
            self._marks = _Marks(len(self) + heads.size)
            for held in (self._settled()[0][:, 0], *(run.heads for run in self._runs)):
                self._marks.add(held)
        self._marks.add(heads)

    def _settled(self) -> tuple[np.ndarray, np.ndarray]:
        ids = np.frombuffer(b"".join(self._recent), dtype=np.uint64).reshape(-1, 2)
        return ids, np.fromiter(self._recent.values(), dtype=np.int64, count=len(self._recent))


class _Marks:
    """A table of bits, at least 16 and at first 32 to 64 per id, of which each id sets one."""

    def __init__(self, count: int) -> None:
        bits = max(32 * count, _LEAST_MARKS).bit_length()
        self._table = np.zeros(1 << (bits - 3), dtype=np.uint8)
        self._bytes = self._table.data  # of which plain Python reads one sooner than NumPy does
        self._down = 64 - bits
        self._shift = np.uint64(self._down)
        self._room = 1 << (bits - 4)

    def are_full(self, more: int) -> bool:
        """Tell whether there are too many ids with so many more."""
        return more > self._room

    def add(self, heads: np.ndarray) -> None:
        """Mark ids by their first halves."""
        self._room -= heads.size
        if heads.size < _SINGLE:
            for head in heads.tolist():
                one = head >> self._down
                self._bytes[one >> 3] |= 1 << (one & 7)
            return
        at = (heads >> self._shift).view(np.int64)
        np.bitwise_or.at(self._table, at >> 3, _BIT.take(at & 7))

    def one_maybe(self, head: int) -> bool:
        """Tell whether the id of this first half may have been marked."""
        at = head >> self._down
        return bool(self._bytes[at >> 3] >> (at & 7) & 1)

    def maybe(self, heads: np.ndarray) -> np.ndarray:
        """Return the places of those that may have been marked; the others were not."""
        at = (heads >> self._shift).view(np.int64)
        place: np.ndarray = (self._table.take(at >> 3) & _BIT.take(at & 7)).nonzero()[0]
        return place


class _Run:
    """Ids in ascending order of their first halves, each with the latest time it was counted at."""

    def __init__(self, heads: np.ndarray, rests: np.ndarray, times: np.ndarray) -> None:
        if (heads[1:] == heads[:-1]).any():  # an id that counted again, or two that share their first half
            order = np.lexsort((times, rests, heads))
            heads, rests, times = heads[order], rests[order], times[order]
            last = np.ones(heads.size, dtype=bool)
            last[:-1] = (heads[1:] != heads[:-1]) | (rests[1:] != rests[:-1])
            heads, rests, times = heads[last], rests[last], times[last]
        self.heads, self.rests, self.times = heads, rests, times
        self.size = heads.size
        self.newest = int(times.max(initial=NO_TIME))

    @classmethod
    def of(cls, ids: np.ndarray, at: np.ndarray) -> _Run:
        """Sort ids into a run."""
        order = ids[:, 0].argsort()
        return cls(ids[:, 0].take(order), ids[:, 1].take(order), at.take(order))

    def merged(self, later: _Run, since_ms: int) -> _Run:
        """Return this run and a later one as one, without the ids that are no longer remembered."""
        heads = np.concatenate((self.heads, later.heads))
        times = np.concatenate((self.times, later.times))
        order = heads.argsort(kind="stable")  # of two sorted halves it is a merge
        order = order[times.take(order) >= since_ms]
        return _Run(heads.take(order), np.concatenate((self.rests, later.rests)).take(order), times.take(order))

    def find(self, ids: np.ndarray, found: np.ndarray) -> None:
        """Raise `found` to the time of each id that is here."""
        at = self.heads.searchsorted(ids[:, 0])
        rows = (self.heads.take(at, mode="clip") == ids[:, 0]).nonzero()[0]
        while rows.size:  # once, but for ids that share their first half
            place = at[rows]
            same = self.rests[place] == ids[rows, 1]
            mine = rows[same]
            found[mine] = np.maximum(found[mine], self.times[place[same]])
            rows = rows[~same]
            at[rows] += 1
            rows = rows[self.heads.take(at[rows], mode="clip") == ids[rows, 0]]
            rows = rows[at[rows] < self.size]

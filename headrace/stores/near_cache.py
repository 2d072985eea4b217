"""A near cache: rows of a store away from here, kept in this process for a short time.

What is kept are rows, not values: they are merged at each request's own instant, so that a kept row's
windows go on emptying. Keys that the store does not have are kept too, for a time of their own. Rows that many
requests want at once are read once. Of a full cache the rows read longest ago go first; they would be
the first to be read again anyway. Seconds are those of a monotonic clock and count from the
instant a read began, so that a row is never taken for younger than it is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Lookup, PackedStore, ReadDeadlinePassed, RowsUnread, StoreUnavailable

_BESIDE_A_ROW = 240  # bytes of an entry, measured: key, tuple, instants and its place in the dictionary
_Key = tuple[str, int | str]  # a group's name and a key
_Entry = tuple[bytes, float, float]  # row, until when it is fresh, when its read began
_ABSENT: _Entry = (b"", -math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much a cache keeps, and for how long.

    A row is fresh for `fresh_s`, the absence of one for `missing_s`. Beyond that it may be asked for by `kept`
    alone, and once `limit_s` have passed since its read began not at all.
    """

    entries: int
    size: int = 64 << 20  # bytes, about
    fresh_s: float = 1.0
    missing_s: float = 1.0
    limit_s: float = 0.0


@dataclass(slots=True)
class CacheCounts:
    """What became of the keys asked for: found, found to be missing, or not found fresh.

    Of the last, `coalesced` were being read for another request. `evicted` are entries that made room.
    """

    hits: int = 0
    missing_hits: int = 0
    misses: int = 0
    coalesced: int = 0
    evicted: int = 0


@dataclass(slots=True)
class _Held:
    rows: OrderedDict[int | str, _Entry] = field(default_factory=OrderedDict)

    @property
    def oldest(self) -> float:
        return next(iter(self.rows.values()))[2]


class NearCache:
    """A store behind a near cache; see the module. A read mixes rows of several instants of the store."""

    def __init__(self, store: PackedStore, keeping: Keeping, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._keeping, self._clock = store, keeping, clock
        self.counts = CacheCounts()
        self.size = 0  # bytes, about
        self._held: dict[str, _Held] = {}
        self._flights: dict[_Key, asyncio.Task[dict[_Key, bytes]]] = {}

    @property
    def entries(self) -> int:
        """How many keys are held."""
        return sum(len(held.rows) for held in self._held.values())

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return fresh rows of the cache, and of the store where there are none; raises as the store does."""
        names = [wanted.group.name for wanted in lookups]
        keys = [wanted.keys.tolist() for wanted in lookups]
        now, missed = self._clock(), self.counts.misses
        found = [self._fresh(name, of, now) for name, of in zip(names, keys, strict=True)]
        if self.counts.misses == missed:
            return found  # type: ignore[return-value]
        absent = {
            (name, key): None
            for name, of, rows in zip(names, keys, found, strict=True)
            for key, row in zip(of, rows, strict=True)
            if row is None
        }
        told = await self._fetched(lookups, absent, deadline)
        return [
            [told[name, key] if row is None else row for key, row in zip(of, rows, strict=True)]
            for name, of, rows in zip(names, keys, found, strict=True)
        ]

    def kept(self, wanted: Lookup) -> tuple[list[bytes | None], np.ndarray]:
        """Return the rows within the hard limit, None where there is none, and which are not fresh, bool [n]."""
        held, now = self._rows(wanted.group.name), self._clock()
        since = now - self._keeping.limit_s
        found = [held.get(key, _ABSENT) for key in wanted.keys.tolist()]
        rows = [row if until > now or began > since else None for row, until, began in found]
        stale = [row is not None and until <= now for row, (_, until, _) in zip(rows, found, strict=True)]
        return rows, np.array(stale, bool)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness."""
        return self._store.readiness(groups)

    def close(self) -> None:
        """Forget every row and close the store."""
        self._held.clear()
        self.size = 0
        self._store.close()

    def _rows(self, name: str) -> OrderedDict[int | str, _Entry]:
        if (held := self._held.get(name)) is None:
            held = self._held[name] = _Held()
        return held.rows

    def _fresh(self, name: str, keys: Sequence[int | str], now: float) -> list[bytes | None]:
        # A hundred nanoseconds a key here are a tenth of what a request of many keys takes.
        entries = list(map(self._rows(name).get, keys, repeat(_ABSENT)))
        rows: list[bytes | None] = [row for row, until, _ in entries if until > now]
        missing = 0 if all(rows) else rows.count(b"")
        self.counts.missing_hits += missing
        self.counts.hits += len(rows) - missing
        if len(rows) < len(keys):
            self.counts.misses += len(keys) - len(rows)
            rows = [row if until > now else None for row, until, _ in entries]
        return rows

    async def _fetched(
        self, lookups: Sequence[Lookup], absent: Iterable[_Key], deadline: float | None
    ) -> dict[_Key, bytes]:
        """Return the rows of absent keys, of reads under way where there are any; read the others."""
        told: dict[_Key, bytes] = {}
        wanted = list(absent)
        while wanted:
            unread = [key for key in wanted if key not in self._flights]
            self.counts.coalesced += len(wanted) - len(unread)
            own = self._start(lookups, unread, deadline)
            flights = {self._flights[key] for key in wanted}
            await _landed(flights, deadline)
            for flight in flights:
                failure = flight.exception()
                if failure is None:
                    told |= flight.result()
                elif flight is own or not isinstance(failure, StoreUnavailable):
                    raise failure
                elif not isinstance(failure, ReadDeadlinePassed | RowsUnread):  # another request's deadline or row
                    raise StoreUnavailable(str(failure)) from failure
            wanted = [key for key in wanted if key not in told]
        return told

    def _start(
        self, lookups: Sequence[Lookup], keys: list[_Key], deadline: float | None
    ) -> asyncio.Task[dict[_Key, bytes]] | None:
        if not keys:
            return None
        by_group: dict[str, list[int | str]] = {}
        for name, key in keys:
            by_group.setdefault(name, []).append(key)
        alone = [
            Lookup(wanted.group, np.array(by_group[wanted.group.name], wanted.keys.dtype))
            for wanted in {wanted.group.name: wanted for wanted in lookups}.values()
            if wanted.group.name in by_group
        ]
        flight = asyncio.create_task(self._fly(alone, deadline))
        self._flights |= dict.fromkeys(keys, flight)
        # Called before anybody who waits is told, so that whoever is disappointed can read again.
        flight.add_done_callback(lambda ended: self._end(ended, keys))
        return flight

    def _end(self, flight: asyncio.Task[dict[_Key, bytes]], keys: Sequence[_Key]) -> None:
        for key in keys:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # looked at, also where all who waited have gone

    async def _fly(self, lookups: Sequence[Lookup], deadline: float | None) -> dict[_Key, bytes]:
        began = self._clock()
        found = await self._store.read_packed(lookups, deadline)
        told: dict[_Key, bytes] = {}
        for wanted, rows in zip(lookups, found, strict=True):
            keys = wanted.keys.tolist()
            self._keep(wanted.group.name, keys, rows, began)
            told |= {(wanted.group.name, key): row for key, row in zip(keys, rows, strict=True)}
        return told

    def _keep(self, name: str, keys: Sequence[int | str], rows: Sequence[bytes], began: float) -> None:
        held, keeping = self._rows(name), self._keeping
        fresh, missing = began + keeping.fresh_s, began + keeping.missing_s
        for key, row in zip(keys, rows, strict=True):
            if (before := held.pop(key, None)) is not None:
                self.size -= _size(key, before[0])
            held[key] = (row, fresh if row else missing, began)
            self.size += _size(key, row)
        self._evict()

    def _evict(self) -> None:
        entries = self.entries
        while entries > self._keeping.entries or self.size > self._keeping.size:
            oldest = min((held for held in self._held.values() if held.rows), key=lambda held: held.oldest)
            key, (row, _, _) = oldest.rows.popitem(last=False)
            self.size -= _size(key, row)
            self.counts.evicted += 1
            entries -= 1


def _size(key: int | str, row: bytes) -> int:
    return _BESIDE_A_ROW + len(row) + (len(key) if isinstance(key, str) else 0)


async def _landed(flights: Iterable[asyncio.Task[dict[_Key, bytes]]], deadline: float | None) -> None:
    left_s = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0.0)
    _, under_way = await asyncio.wait(flights, timeout=left_s)
    if under_way:
        raise ReadDeadlinePassed("the store gave no answer before the read's deadline")

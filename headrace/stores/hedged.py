"""A second read for the slow tail: where the first takes longer than most did, whoever answers first is taken.

How long is learnt from the reads themselves, apart for small and large ones. A budget bounds how many reads
are made twice, so that a store that is slow as a whole is not asked twice as much. Seconds throughout.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Lookup, PackedStore, StoreUnavailable

_ENOUGH = 32  # reads before their tail is known, and between two looks at it
_RECENT = 512
_SAVED = 10.0  # second reads that may be saved up for a burst
_TICK_S = 0.001  # uvloop's timers count whole milliseconds, and what is below half of one does not wait


@dataclass(frozen=True, slots=True)
class Hedging:
    """Which reads are made a second time: those slower than `quantile` of the recent, at most `share` of all."""

    quantile: float = 0.95
    share: float = 0.05


@dataclass(slots=True)
class _Tail:
    quantile: float
    delay_s: float | None = None
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _since: int = 0

    def add(self, took_s: float) -> None:
        self._recent.append(took_s)
        self._since += 1
        if self._since >= _ENOUGH:
            self._since = 0
            at = sorted(self._recent)[min(int(self.quantile * len(self._recent)), len(self._recent) - 1)]
            self.delay_s = max(math.ceil(at / _TICK_S), 1) * _TICK_S


class Hedged:
    """A store whose slow reads are made a second time; see the module."""

    def __init__(
        self, store: PackedStore, hedging: Hedging | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._hedging, self._clock = store, hedging or Hedging(), clock
        self.second = 0  # second reads made
        self.won = 0  # of which were answered first
        self._budget = 0.0
        self._tails: dict[int, _Tail] = {}

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return the rows of whichever read is answered first; raises where every read failed, as the last did."""
        self._budget = min(self._budget + self._hedging.share, _SAVED)
        tail = self._tail(lookups)
        began = self._clock()
        if tail.delay_s is None:
            rows = await self._store.read_packed(lookups, deadline)
        else:
            rows = await self._raced(lookups, deadline, tail.delay_s)
        tail.add(self._clock() - began)
        return rows

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness."""
        return self._store.readiness(groups)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _tail(self, lookups: Sequence[Lookup]) -> _Tail:
        size = sum(wanted.keys.size for wanted in lookups).bit_length() // 2  # four times as many keys, another tail
        if (tail := self._tails.get(size)) is None:
            tail = self._tails[size] = _Tail(self._hedging.quantile)
        return tail

    async def _raced(self, lookups: Sequence[Lookup], deadline: float | None, delay_s: float) -> list[list[bytes]]:
        first = asyncio.create_task(self._store.read_packed(lookups, deadline))
        running = {first}
        try:
            await asyncio.wait(running, timeout=delay_s)
            if not first.done() and self._budget >= 1.0:
                self._budget -= 1.0
                self.second += 1
                running.add(asyncio.create_task(self._store.read_packed(lookups, deadline)))
            answered = await _first_answered(running)
            self.won += answered is not first and answered.exception() is None
            return answered.result()
        finally:
            for task in running:
                task.cancel()


async def _first_answered(running: set[asyncio.Task[list[list[bytes]]]]) -> asyncio.Task[list[list[bytes]]]:
    pending = set(running)
    while True:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in done if not isinstance(task.exception(), StoreUnavailable)]
        if good or not pending:
            return (good or list(done))[0]

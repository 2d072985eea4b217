"""A circuit breaker: a store that fails is not asked for a while, so that nobody waits for it.

Of the last reads a share failed: the circuit opens, and every read is refused at once. After a time
one read is let through to try the store; when it succeeds the circuit closes, else it stays open as long
again. Seconds are those of a monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Lookup, PackedStore, ReadDeadlinePassed, RowsUnread, StoreUnavailable


class Circuit(Enum):
    """Whether the store is asked: `closed` it is, `open` it is not, `half_open` one read tries it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When a circuit opens and for how long.

    It opens where at least `share` of the last `calls` reads failed. A read that its deadline ended, or that was
    cancelled, says something of the store only after `patience_s`: a caller in a hurry opens nothing.
    """

    calls: int = 20
    share: float = 0.5
    open_s: float = 0.5
    patience_s: float = 0.01


class CircuitOpen(StoreUnavailable):
    """The store failed so often that it is not asked for now."""


class Breaker:
    """A store behind a circuit breaker; see the module."""

    def __init__(
        self, store: PackedStore, tolerance: Tolerance | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._tolerance, self._clock = store, tolerance or Tolerance(), clock
        self.circuit = Circuit.CLOSED
        self.opened = 0  # times
        self.refused = 0  # reads
        self._failed: deque[bool] = deque(maxlen=self._tolerance.calls)
        self._until = 0.0
        self._turn = 0  # counts changes of the circuit: a read is judged in the one it began in

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return the store's rows; raises CircuitOpen at once where it is not asked, else as the store does."""
        turn, began = self._admit()
        outcome: bool | None = None  # whether it failed, None where that cannot be told
        try:
            rows = await self._store.read_packed(lookups, deadline)
            outcome = False
            return rows
        except (ReadDeadlinePassed, asyncio.CancelledError):
            outcome = True if self._clock() - began >= self._tolerance.patience_s else None
            raise
        except RowsUnread:  # which says something of the rows
            raise
        except StoreUnavailable:
            outcome = True
            raise
        finally:
            self._judge(turn, outcome)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness: it finds the store again whatever the circuit says."""
        return self._store.readiness(groups)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _admit(self) -> tuple[int, float]:
        now = self._clock()
        if self.circuit is not Circuit.CLOSED:
            if self.circuit is Circuit.HALF_OPEN or now < self._until:
                self.refused += 1
                raise CircuitOpen("the store failed too often of late and is not asked, needs a moment to come back")
            self._turn_to(Circuit.HALF_OPEN)
        return self._turn, now

    def _judge(self, turn: int, failed: bool | None) -> None:
        if turn != self._turn:
            return
        if self.circuit is Circuit.HALF_OPEN:
            if failed is None:  # the next read tries again
                self._turn_to(Circuit.OPEN)
            else:
                self._open() if failed else self._turn_to(Circuit.CLOSED)
        elif failed is not None:
            self._failed.append(failed)
            # A window that is not full is judged as if the rest had succeeded.
            if failed and sum(self._failed) >= self._tolerance.share * self._tolerance.calls:
                self._open()

    def _open(self) -> None:
        self._until = self._clock() + self._tolerance.open_s
        self.opened += 1
        self._turn_to(Circuit.OPEN)

    def _turn_to(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self._turn += 1
        self._failed.clear()

"""A store that takes a while to open, such as one a cluster is asked about: not ready until it is open.

It is opened in a thread of its own, begun when its readiness is asked for, and again a second after
it failed. Until then reads are refused with the reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Block, Lookup, OnlineStore, PackedStore, StoreUnavailable

AGAIN_S = 1.0


class Opened(OnlineStore, PackedStore, Protocol):
    """What is opened: a store that gives blocks and rows."""


class LateStore:
    """Opens by `opening`, which raises StoreUnavailable where it cannot yet; `called` names the store in reasons."""

    def __init__(
        self, opening: Callable[[], Opened], called: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opening, self._clock = opening, clock
        self._store: Opened | None = None
        self._called, self._reason = called, f"{called} is being opened"
        self._thread: threading.Thread | None = None
        self._ended = -AGAIN_S
        self._closed = False
        self._lock = threading.Lock()

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup; see OnlineStore."""
        return await self._open().read(lookups, as_of, deadline)

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list of rows per lookup; see PackedStore."""
        return await self._open().read_packed(lookups, deadline)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness once it is open, before that why it is not."""
        if self._store is not None:
            return self._store.readiness(groups)
        self.begin()
        return self._reason

    def begin(self) -> None:
        """Begin to open the store, unless that is under way, done, or failed less than a second ago."""
        under_way = self._thread is not None and self._thread.is_alive()
        if self._store is None and not under_way and self._clock() - self._ended >= AGAIN_S:
            self._thread = threading.Thread(target=self._try, name="opening", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when an opening that is under way has ended."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Close the store, also one that is still being opened."""
        with self._lock:
            self._closed, store, self._store = True, self._store, None
        if store is not None:
            store.close()

    def _try(self) -> None:
        store, reason = None, f"{self._called} could not be opened: a fault, which stderr has"
        try:
            store = self._opening()
        except StoreUnavailable as failed:
            reason = str(failed)
            return
        finally:
            if store is None:
                self._reason, self._ended = reason, self._clock()
        with self._lock:
            if not self._closed:
                self._store = store
                return
        store.close()

    def _open(self) -> Opened:
        if (store := self._store) is None:
            raise StoreUnavailable(self._reason)
        return store

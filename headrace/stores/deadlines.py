"""The deadline of a read, kept whatever the store does: a read that is late is given up.

Instants are those of the running loop's clock, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Lookup, PackedStore, ReadDeadlinePassed


class Bounded:
    """A store whose reads end at their deadline, answered or cancelled."""

    def __init__(self, store: PackedStore) -> None:
        self._store = store

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return the store's rows; raises ReadDeadlinePassed where it has none by the deadline."""
        try:
            async with asyncio.timeout_at(deadline) as limit:
                return await self._store.read_packed(lookups, deadline)
        except TimeoutError:
            if not limit.expired():
                raise
            raise ReadDeadlinePassed("the store gave no answer before the read's deadline") from None

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness."""
        return self._store.readiness(groups)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

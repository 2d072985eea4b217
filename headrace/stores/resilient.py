"""A store away from here, made fit to be asked by requests.

From the request inward: what is answered when the store fails (fallback), rows kept near (near_cache), a
store that fails is not asked (breaker), a read ends at its deadline (deadlines), a slow one is made a second time
(hedged). A row that is kept needs no store, so the cache stands before the breaker; a read given up and a second
one are one read to the breaker, so it stands before both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.breaker import Breaker, Tolerance
from headrace.stores.deadlines import Bounded
from headrace.stores.fallback import REJECT, Fallback, policies
from headrace.stores.hedged import Hedged, Hedging
from headrace.stores.near_cache import Keeping, NearCache
from headrace.stores.online import Block, Lookup, PackedStore


@dataclass(frozen=True, slots=True)
class Resilience:
    """What to do about a store that is far, slow or away. Caching and second reads are off unless given.

    `on_failure` is read by fallback.policies; `timeout_s` is how long a read may take of a request's time.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    keeping: Keeping | None = None
    hedging: Hedging | None = None
    timeout_s: float | None = None
    on_failure: str = REJECT


@dataclass(frozen=True, slots=True)
class Resilient:
    """An OnlineStore of these layers; the parts are for whoever counts."""

    fallback: Fallback
    breaker: Breaker
    cache: NearCache | None
    hedged: Hedged | None

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup; see OnlineStore and Fallback."""
        return await self.fallback.read(lookups, as_of, deadline)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group can be answered for; see Fallback."""
        return self.fallback.readiness(groups)

    def close(self) -> None:
        """Close every layer and the store."""
        self.fallback.close()


def resilient(
    store: PackedStore,
    how: Resilience,
    groups: Sequence[WindowedGroup],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Resilient:
    """Put the layers before a store that serves these groups; raises ValueError for a policy that cannot be kept."""
    policy = policies(how.on_failure, [group.name for group in groups])
    kept = how.keeping is not None and how.keeping.entries > 0
    if not kept and "stale" in policy.values():
        raise ValueError("on_store_failure says 'stale', which needs rows that are kept: set cache_entries above 0")
    hedged = Hedged(store, how.hedging, clock=clock) if how.hedging else None
    breaker = Breaker(Bounded(hedged or store), how.tolerance, clock=clock)
    cache = NearCache(breaker, how.keeping, clock=clock) if kept and how.keeping else None
    return Resilient(Fallback(cache or breaker, policy, cache, timeout_s=how.timeout_s), breaker, cache, hedged)

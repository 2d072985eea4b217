"""What stands before the store of a transformer, as its settings say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.features.windows import WindowedGroup
from headrace.settings import TransformerSettings
from headrace.stores.breaker import Tolerance
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.fallback import REJECT
from headrace.stores.hedged import Hedging
from headrace.stores.near_cache import Keeping
from headrace.stores.online import OnlineStore, PackedStore
from headrace.stores.resilient import Resilience, resilient

#: Of the time a request has by default, how much a read must have been given for its lateness to be the store's.
_PATIENCE = 0.25


class Store(OnlineStore, PackedStore, Protocol):
    """What a store must do to be served from."""


def resilience_of(settings: TransformerSettings) -> Resilience:
    """Return what the settings ask for, in seconds and bytes.

    >>> resilience_of(TransformerSettings(store_timeout_ms=20)).timeout_s
    0.02
    """
    given_ms = settings.store_timeout_ms or settings.deadline_ms
    keeping = Keeping(
        settings.cache_entries,
        settings.cache_mib << 20,
        settings.cache_ttl_ms / 1e3,
        settings.cache_missing_ttl_ms / 1e3,
        settings.stale_limit_ms / 1e3,
    )
    return Resilience(
        Tolerance(open_s=settings.store_retry_ms / 1e3, patience_s=_PATIENCE * given_ms / 1e3),
        keeping if settings.cache_entries else None,
        Hedging() if settings.second_reads else None,
        settings.store_timeout_ms / 1e3 or None,
        settings.on_store_failure,
    )


def guarded(store: Store, settings: TransformerSettings, groups: Sequence[WindowedGroup]) -> OnlineStore:
    """Put what the settings ask for before a store; raises ValueError for a policy that cannot be kept.

    The embedded store is in this process's memory: it needs none of it, and has none unless told to.
    """
    how = resilience_of(settings)
    told = how.keeping or how.hedging or how.timeout_s or how.on_failure != REJECT
    return resilient(store, how, groups) if told or not isinstance(store, EmbeddedStore) else store

"""Metrics of the layers before a store away from here; read from them when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headrace.stores.breaker import Breaker, Circuit
from headrace.stores.hedged import Hedged
from headrace.stores.near_cache import NearCache
from headrace.stores.resilient import Resilient


class StoreCollector(Collector):
    """The layers of one model's store, in the label `model_name`; those that are off are not told of."""

    def __init__(self, model: str, store: Resilient) -> None:
        self._model, self._store = model, store

    def collect(self) -> Iterator[Metric]:
        """Give every metric as it stands."""
        yield from self._circuit(self._store.breaker)
        if self._store.cache is not None:
            yield from self._cache(self._store.cache)
        if self._store.hedged is not None:
            yield from self._second(self._store.hedged)

    def _circuit(self, breaker: Breaker) -> Iterator[Metric]:
        shut = breaker.circuit is not Circuit.CLOSED
        yield self._gauge("headrace_store_circuit_open", "1 while the store is not asked because it failed", shut)
        yield self._counter("headrace_store_circuit_opened", "Times the store failed so often", breaker.opened)
        yield self._counter("headrace_store_reads_refused", "Reads refused without asking it", breaker.refused)

    def _cache(self, cache: NearCache) -> Iterator[Metric]:
        counts = cache.counts
        found = CounterMetricFamily(
            "headrace_cache_keys", "Keys looked up in the near cache", labels=["model_name", "result"]
        )
        for result, keys in (("hit", counts.hits), ("missing", counts.missing_hits), ("miss", counts.misses)):
            found.add_metric([self._model, result], keys)
        yield found
        yield self._counter("headrace_cache_coalesced", "Misses that another request was reading", counts.coalesced)
        yield self._counter("headrace_cache_evicted", "Entries that made room", counts.evicted)
        yield self._gauge("headrace_cache_entries", "Entries held", cache.entries)
        yield self._gauge("headrace_cache_bytes", "About how much memory they take", cache.size)

    def _second(self, hedged: Hedged) -> Iterator[Metric]:
        yield self._counter("headrace_store_second_reads", "Slow reads made a second time", hedged.second)
        yield self._counter("headrace_store_second_reads_won", "Of these, answered before the first", hedged.won)

    def _counter(self, name: str, meaning: str, value: float) -> Metric:
        family = CounterMetricFamily(name, meaning, labels=["model_name"])
        family.add_metric([self._model], value)
        return family

    def _gauge(self, name: str, meaning: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, meaning, labels=["model_name"])
        family.add_metric([self._model], value)
        return family

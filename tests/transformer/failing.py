"""A store that fails on command, in front of which a transformer is served over HTTP in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from headrace.features import WindowedGroup
from headrace.open_inference.client.model_client import PredictorClient
from headrace.settings import TransformerSettings
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Lookup, StoreUnavailable, Unreachable
from headrace.stores.resilient import resilient
from headrace.telemetry import RequestMetrics
from tests.end_to_end.asking import Said, ask, tensor
from tests.transformer.small import APP, NOW, VIEW, Tiny, served, stored
from transformer.model import FeatureTransformer
from transformer.request_path import RequestPath
from transformer.resilience import resilience_of


class Failing(MemoryStore):
    """A memory store that is `away`, or `silent`, as long as it is told to be.

    It counts the reads that reach it, and calls `on_read` before each.
    """

    away = silent = False
    reads = 0

    def on_read(self) -> None:
        """Do nothing; a scene may replace it."""

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        self.reads += 1
        self.on_read()
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().read_packed(lookups, deadline)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        return Unreachable("the store is away") if self.away or self.silent else super().readiness(groups)


def failing() -> Failing:
    """Return a store in which ann clicked a minute ago for 7, and bob for 5."""
    store = Failing()
    store.__dict__ |= stored([("ann", NOW - 60_000, 7.0), ("bob", NOW - 60_000, 5.0)]).__dict__
    return store


@dataclass
class Front:
    """A served transformer, its store, and when it is: `at` is given to its cache and its breaker."""

    url: str
    model: FeatureTransformer
    store: Failing
    at: float = 0.0

    async def infer(self, *users: str, deadline_ms: float = 20_000) -> Said:
        """Ask for these users' features, what became of their rows, and how old they are."""
        rows = len(users)
        inputs = [tensor("user", users, "BYTES"), tensor("at", [NOW] * rows, "INT64"), tensor("amount", [1.0] * rows)]
        asked = {"inputs": inputs, "outputs": [{"name": name} for name in ("features", "row_status", "feature_age_ms")]}
        address, deadline = self.url.removeprefix("http://"), {"headrace_deadline_ms": str(deadline_ms)}
        return await asyncio.to_thread(ask, address, "POST", "/v2/models/small/infer", asked, **deadline)

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric as it is scraped."""
        families = text_string_to_metric_families(self.model.path.metrics.text().decode())
        labels["model_name"] = "small"
        return next(s.value for of in families for s in of.samples if (s.name, s.labels) == (name, labels))


@asynccontextmanager
async def fronted(settings: TransformerSettings, store: Failing | None = None) -> AsyncIterator[Front]:
    """Serve the small application over a failing store, guarded as the settings say, checked once."""
    store, metrics = store or failing(), RequestMetrics("small", ("users",))
    front = Front("", None, store)  # type: ignore[arg-type]
    guarded = resilient(store, resilience_of(settings), VIEW.groups, clock=lambda: front.at)
    metrics.watch(guarded)
    async with served(Tiny()) as predictor_url, PredictorClient(predictor_url, "small") as predictor:
        path = RequestPath(APP, guarded, predictor, metrics, clock=lambda: NOW)
        front.model = FeatureTransformer(path)
        assert await front.model.check() is None
        async with served(front.model) as front.url:  # type: ignore[arg-type]
            yield front


def told(said: Said) -> list[tuple[float, str]]:
    """Return the sum of each row's clicks in the last hour, -1 where that is missing, and its status."""
    assert said.status == 200, said.body
    sums = said.output("features")[VIEW.names.index("amount_sum_1h") :: len(VIEW.names)]
    return list(zip(sums, said.output("row_status"), strict=True))

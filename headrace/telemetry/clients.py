"""Metrics of the client of a predictor: its endpoints and second attempts; read from it when they are scraped.

Endpoints are counted, never named: addresses come and go with pods. Each process of a server counts its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headrace.open_inference.client.model_client import PredictorClient


class ClientCollector(Collector):
    """The endpoints of one model's predictor, in the label `model_name`."""

    def __init__(self, model: str, client: PredictorClient) -> None:
        self._model, self._client = model, client

    def collect(self) -> Iterator[Metric]:
        """Give every metric as it stands."""
        endpoints, budget = self._client.endpoints, self._client.budget
        total = endpoints.total
        # The clock of every event loop on the systems this runs on.
        out = total - endpoints.healthy(time.monotonic())
        for name, meaning, value in (
            ("headrace_predictor_endpoints", "Addresses of the predictor that are known", total),
            ("headrace_predictor_endpoints_left_out", "Of these, left out for a while because they failed", out),
        ):
            gauge = GaugeMetricFamily(name, meaning, labels=["model_name"])
            gauge.add_metric([self._model], value)
            yield gauge
        for name, meaning, count in (
            ("headrace_predictor_second_attempts", "Requests asked of a second endpoint", budget.spent),
            ("headrace_predictor_second_attempts_refused", "Not asked again: too many were", budget.refused),
        ):
            counter = CounterMetricFamily(name, meaning, labels=["model_name"])
            counter.add_metric([self._model], count)
            yield counter

"""Metrics of a prediction log; read from it when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Log(Protocol):
    """A prediction log, by what it counts; see headrace.predictions."""

    written: int
    full: int
    failed: int
    left_out: int

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        ...


def watch_log(registry: CollectorRegistry, model: str, log: Log) -> None:
    """Tell of a model's prediction log, too.

    >>> from types import SimpleNamespace
    >>> registry = CollectorRegistry()
    >>> watch_log(registry, "fraud", SimpleNamespace(written=3, full=0, failed=0, left_out=0, waiting=0))
    >>> registry.get_sample_value("headrace_predictions_total", {"model_name": "fraud", "result": "written"})
    3
    """
    registry.register(_LogCollector(model, log))


class _LogCollector(Collector):
    def __init__(self, model: str, log: Log) -> None:
        self._model, self._log = model, log

    def collect(self) -> Iterator[Metric]:
        log, names = self._log, ["model_name", "result"]
        rows = CounterMetricFamily("headrace_predictions", "Rows offered to the prediction log", labels=names)
        for result, count in (
            ("written", log.written),
            ("dropped_full", log.full),
            ("dropped_sink", log.failed),
            ("not_sampled", log.left_out),
        ):
            rows.add_metric([self._model, result], count)
        yield rows
        waiting = GaugeMetricFamily("headrace_predictions_waiting_rows", "Rows that wait", labels=["model_name"])
        waiting.add_metric([self._model], log.waiting)
        yield waiting

"""Metrics of models that are run by us: their runs, what waits for one, and what was loaded or refused.

They tell whether requests are joined (requests and rows of a run), whether the queue fills before it refuses,
which version answers, and that a model which was put into the repository is not served, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Gauge

from headrace.telemetry.counts import counters, histograms
from headrace.telemetry.servers import ServerMetrics

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16_384)
#: Why a model may be refused, in kinds.
REASONS = ("absent", "altered", "code", "fault", "incomplete", "unfit", "unlisted", "unreadable", "unsigned")
REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ModelMetrics:
    """The metrics of the models that a process runs, in the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "model_name"
        self._run_rows = histograms(registry, "headrace_run_rows", "Rows of a run of the model", ROWS, name)
        self._run_requests = histograms(registry, "headrace_run_requests", "Requests joined into a run", REQUESTS, name)
        self._loads = counters(
            registry, "headrace_model_loads", "Times the model was loaded, the first one included", name
        )
        self._refused = counters(
            registry, "headrace_model_refused", "Models that were refused, by reason", name, "reason"
        )
        self._waiting = Gauge("headrace_queue_rows", "Rows that wait for a run", [name], registry=registry)
        self._versions = Gauge(
            "headrace_model_version", "1 for each version served", [name, "version", "production"], registry=registry
        )
        self._served: dict[str, list[tuple[str, str, str]]] = {}

    def runs_of(self, model: str) -> Callable[[int, int], None]:
        """Return what is to be told of every run of a model: its requests and rows."""
        for (
            reason
        ) in REASONS:  # from 0 on: a series that begins with its first refusal has not grown, and alerts nobody
            self._refused.labels(model, reason)
        requests, rows = self._run_requests.labels(model), self._run_rows.labels(model)

        def observe(of_requests: int, of_rows: int) -> None:
            requests.observe(of_requests)
            rows.observe(of_rows)

        return observe

    def watch_queue(self, model: str, waiting_rows: Callable[[], int]) -> None:
        """Ask how many rows wait for a run whenever the metrics are read."""
        self._waiting.labels(model_name=model).set_function(waiting_rows)

    def loaded(self, model: str, versions: Iterable[str], production: str) -> None:
        """Tell which versions of a model are served from now on, and which one answers where none is named."""
        self._loads.labels(model).inc()
        for former in self._served.pop(model, ()):
            self._versions.remove(*former)
        now = [(model, version, "true" if version == production else "false") for version in versions]
        for labels in now:
            self._versions.labels(*labels).set(1)
        self._served[model] = now

    def refused(self, model: str, reason: str) -> None:
        """Count a model that was refused; the reason is a word, of few."""
        self._refused.labels(model, reason).inc()


class PredictorMetrics(ServerMetrics, ModelMetrics):
    """The metrics of one predictor: its server's, its runs' and its models'.

    >>> metrics = PredictorMetrics()
    >>> metrics.refused("fraud", "altered")
    >>> b'headrace_model_refused_total{model_name="fraud",reason="altered"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        ServerMetrics.__init__(self)
        ModelMetrics.__init__(self, self.registry)

    def runs_of(self, model: str) -> Callable[[int, int], None]:
        """Return what is to be told of every run of a model, whose requests are counted from now on."""
        self.expect(model)
        return super().runs_of(model)

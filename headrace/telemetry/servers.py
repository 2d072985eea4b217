"""Metrics of the servers and the request path.

The names request_*_seconds are KServe's own, so that existing dashboards keep working. Buckets are
in seconds and resolve what a request path of milliseconds is made of.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from headrace.stores.resilient import Resilient
from headrace.telemetry.stores import StoreCollector

BUCKETS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
AGES = (0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)


class ServerMetrics:
    """Requests of every model of a server, by status, in a registry of their own.

    >>> metrics = ServerMetrics()
    >>> metrics.observe("fraud", 200, 0.002)
    >>> b'headrace_requests_total{model_name="fraud",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "headrace_requests", "Requests by status; an unknown model has no name", "status"
        )
        self._seconds = self._histogram("headrace_request_seconds", "From the first byte in to the answer", BUCKETS)

    def observe(self, model: str, status: int, seconds: float) -> None:
        """Count one request of a model."""
        self._requests.labels(model_name=model, status=str(status)).inc()
        self._seconds.labels(model_name=model).observe(seconds)

    def text(self) -> bytes:
        """Return every metric in the Prometheus text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, ["model_name", *labels], registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, ["model_name", *labels], buckets=buckets, registry=self._registry)


class RequestMetrics(ServerMetrics):
    """The metrics of one transformer: its server's, its stages' and its features'.

    >>> metrics = RequestMetrics("fraud", ("card_activity",))
    >>> metrics.rows.inc(25)
    >>> b'headrace_rows_total{model_name="fraud"} 25.0' in metrics.text()
    True
    """

    def __init__(self, model: str, groups: tuple[str, ...]) -> None:
        super().__init__()
        self._model = model

        def seconds(name: str, meaning: str) -> Histogram:
            return self._histogram(name, meaning, BUCKETS).labels(model_name=model)

        def counter(name: str, meaning: str) -> Counter:
            return self._counter(name, meaning).labels(model_name=model)

        self.preprocess = seconds("request_preprocess_seconds", "Decoding, reading features and assembling the matrix")
        self.predict = seconds("request_predict_seconds", "Waiting for the predictor")
        self.postprocess = seconds("request_postprocess_seconds", "Making the answer of the predictions")
        self.store = seconds("headrace_store_read_seconds", "Reading the features of a request from the online store")
        self.rows = counter("headrace_rows", "Rows asked for")
        self.degraded = counter("headrace_rows_degraded", "Rows with an invalid value, answered with it missing")
        missing = self._counter("headrace_rows_missing", "Rows whose key was not in a group", "group")
        age = self._histogram("headrace_feature_age_seconds", "Time since a row's newest event", AGES, "group")
        fallback = self._counter("headrace_rows_fallback", "Rows answered for while the store failed", "group", "kind")
        self.fallback = {
            (group, kind): fallback.labels(model_name=model, group=group, kind=kind)
            for group in groups
            for kind in ("stale", "default")
        }
        self.missing = {group: missing.labels(model_name=model, group=group) for group in groups}
        self.age = {group: age.labels(model_name=model, group=group) for group in groups}

    def watch(self, store: Resilient) -> None:
        """Tell of the layers before a store, too."""
        self._registry.register(StoreCollector(self._model, store))

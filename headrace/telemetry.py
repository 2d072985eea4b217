"""Every metric of the request path, with its labels and buckets. Payloads are never recorded.

The first three names are KServe's own, so that existing dashboards keep working. Buckets are
in seconds and resolve what a request path of milliseconds is made of.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

BUCKETS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
AGES = (0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)


class RequestMetrics:
    """The metrics of one served model, in a registry of their own.

    >>> metrics = RequestMetrics("fraud", ("card_activity",))
    >>> metrics.rows.inc(25)
    >>> b'headrace_rows_total{model_name="fraud"} 25.0' in metrics.text()
    True
    """

    def __init__(self, model: str, groups: tuple[str, ...]) -> None:
        self._registry = CollectorRegistry()

        def seconds(name: str, meaning: str) -> Histogram:
            made = Histogram(name, meaning, ["model_name"], buckets=BUCKETS, registry=self._registry)
            return made.labels(model_name=model)

        def counter(name: str, meaning: str) -> Counter:
            return Counter(name, meaning, ["model_name"], registry=self._registry).labels(model_name=model)

        self.preprocess = seconds("request_preprocess_seconds", "Decoding, reading features and assembling the matrix")
        self.predict = seconds("request_predict_seconds", "Waiting for the predictor")
        self.postprocess = seconds("request_postprocess_seconds", "Making the answer of the predictions")
        self.store = seconds("headrace_store_read_seconds", "Reading the features of a request from the online store")
        self.requests = counter("headrace_requests", "Requests answered")
        self.rows = counter("headrace_rows", "Rows asked for")
        self.degraded = counter("headrace_rows_degraded", "Rows with an invalid value, answered with it missing")
        failures = Counter(
            "headrace_failures", "Requests refused, by status", ["model_name", "status"], registry=self._registry
        )
        self.failures = lambda status: failures.labels(model_name=model, status=str(status))
        missing = Counter(
            "headrace_rows_missing", "Rows whose key was not in a group", ["group"], registry=self._registry
        )
        age = Histogram(
            "headrace_feature_age_seconds",
            "Time since a row's newest event",
            ["group"],
            buckets=AGES,
            registry=self._registry,
        )
        self.missing = {group: missing.labels(group=group) for group in groups}
        self.age = {group: age.labels(group=group) for group in groups}

    def text(self) -> bytes:
        """Return every metric in the Prometheus text format."""
        return generate_latest(self._registry)

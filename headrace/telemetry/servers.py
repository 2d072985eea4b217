"""Metrics of the servers and the request path.

The names request_*_seconds are KServe's own, so that existing dashboards keep working. Buckets are
in seconds and resolve what a request path of milliseconds is made of.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest

import headrace
from headrace.stores.resilient import Resilient
from headrace.telemetry.counts import Count, Family, Histogram, counters, gauges, histograms
from headrace.telemetry.stores import StoreCollector

BUCKETS = (
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
AGES = (0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)
#: What a model's requests may end with, of which somebody is told.
_EXPECTED = (200, 429, 500, 502, 503, 504)
#: What a request goes through, in order.
STAGES = ("parse", "decode", "store", "assemble", "predict", "respond", "encode")


class ServerMetrics:
    """Requests of every model of a server, by status, in a registry of their own.

    >>> metrics = ServerMetrics()
    >>> metrics.observe("fraud", 200, 0.002)
    >>> b'headrace_requests_total{model_name="fraud",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter(
            "headrace_requests", "Requests by status; an unknown model has no name", "status"
        )
        self._seconds = self._histogram("headrace_request_seconds", "From a whole request to its answer", BUCKETS)
        self._known: dict[tuple[str, int], tuple[Count, Histogram]] = {}
        about = gauges(self.registry, "headrace_build_info", "1; which release runs on what", "version", "python")
        about.ask(lambda: 1.0, headrace.__version__, platform.python_version())

    def expect(self, model: str) -> None:
        """Tell of a model's requests before there are any: a failure is then a growth of its series, even the first."""
        for status in _EXPECTED:
            self._requests.labels(model, str(status))

    def observe(self, model: str, status: int, seconds: float | None) -> None:
        """Count one request of a model; `seconds` is None of one that was refused unread."""
        known = self._known.get((model, status))
        if known is None:
            known = self._requests.labels(model, str(status)), self._seconds.labels(model)
            self._known[model, status] = known
        known[0].value += 1
        if seconds is not None:
            known[1].observe(seconds)

    def watch_in_flight(self, in_flight: Callable[[], float]) -> None:
        """Ask how many requests are under way whenever the metrics are read."""
        gauges(self.registry, "headrace_requests_in_flight", "Requests under way").ask(in_flight)

    def text(self) -> bytes:
        """Return every metric in the Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Family[Count]:
        return counters(self.registry, name, meaning, "model_name", *labels)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        return histograms(self.registry, name, meaning, buckets, "model_name", *labels)


class RequestMetrics(ServerMetrics):
    """The metrics of one transformer: its server's, its stages' and its features'.

    `stages` has a histogram of seconds for each of STAGES, to be observed by who runs the stage.

    >>> metrics = RequestMetrics("fraud", ("card_activity",))
    >>> metrics.rows.inc(25)
    >>> b'headrace_rows_total{model_name="fraud"} 25.0' in metrics.text()
    True
    """

    def __init__(self, model: str, groups: tuple[str, ...]) -> None:
        super().__init__()
        self._model = model
        self.expect(model)

        def seconds(name: str, meaning: str, stage: str = "") -> Histogram:
            family = self._histogram(name, meaning, BUCKETS)
            return family.adopt(self.stages[stage], model) if stage else family.labels(model)

        def counter(name: str, meaning: str) -> Count:
            return self._counter(name, meaning).labels(model)

        stages = self._histogram("headrace_stage_seconds", "One stage of a request", BUCKETS, "stage")
        self.stages = {stage: stages.labels(model, stage) for stage in STAGES}
        self.preprocess = seconds("request_preprocess_seconds", "Decoding, reading features and assembling the matrix")
        # These are stages by the names that KServe, or a release before, gave them: counted once, told twice.
        self.predict = seconds("request_predict_seconds", "Waiting for the predictor", "predict")
        self.postprocess = seconds("request_postprocess_seconds", "Making the answer of the predictions", "respond")
        self.store = seconds("headrace_store_read_seconds", "Reading the features of a request", "store")
        seconds("request_explain_seconds", "Explaining an answer; KServe names it, and no request here does")
        self.rows = counter("headrace_rows", "Rows asked for")
        self.degraded = counter("headrace_rows_degraded", "Rows with an invalid value, answered with it missing")
        missing = self._counter("headrace_rows_missing", "Rows whose key was not in a group", "group")
        age = self._histogram("headrace_feature_age_seconds", "Time since a row's newest event", AGES, "group")
        fallback = self._counter("headrace_rows_fallback", "Rows answered for while the store failed", "group", "kind")
        self.fallback = {
            (group, kind): fallback.labels(model, group, kind) for group in groups for kind in ("stale", "default")
        }
        self.missing = {group: missing.labels(model, group) for group in groups}
        self.age = {group: age.labels(model, group) for group in groups}

    def wire(self, parse_s: float, encode_s: float) -> None:
        """Count the reading of a request and the writing of its answer."""
        self.stages["parse"].observe(parse_s)
        self.stages["encode"].observe(encode_s)

    def watch(self, store: Resilient) -> None:
        """Tell of the layers before a store, too."""
        self.registry.register(StoreCollector(self._model, store))

"""Metrics of a pipeline: how fresh what it writes is, how far it is behind, and what it refused.

Freshness is measured for every event, when its batch is committed: from its own time, and from
when it was produced, to then. Clocks of producers and event times are whole milliseconds, so
buckets below one tell only zero from one. An observation per event through a client library
would cost more than the fold, so events are counted into arrays, a batch at a time, and
become samples only when they are scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from headrace.features.columns import MINUTE, NO_TIME, SECOND
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup

#: Seconds from an event to what it changed being readable: half a millisecond to a week.
FRESHNESS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0,
    3600.0, 4 * 3600.0, 86_400.0, 7 * 86_400.0,
)  # fmt: skip
COMMITS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
BATCHES = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0)
#: Why events become dead letters, in kinds, so that no value of an event becomes a label.
KINDS = ("unreadable", "missing", "invalid", "future", "late")
#: An event is out of order once its stream has gone on by more than this, in milliseconds.
DISORDER_MS = MINUTE
_SIZED_EVERY_MS = 5 * SECOND

Size = Callable[[WindowedGroup], int]


class PipelineMetrics:
    """What one pipeline, of one stream into its groups, has done since it started.

    `size` returns how many keys a group holds; it is asked from `observe` and `rest`, in the pipeline's
    own thread, at most every five seconds. `newest_ms` is the time of the newest event counted before it started: a
    stream that has fallen silent is so after a new start, too.

    >>> from headrace.features import Column
    >>> metrics = PipelineMetrics(Stream("clicks", (Column("at", "timestamp"),), time="at"), ())
    >>> metrics.observe(np.array([1_000, 1_500]), now_ms=2_000, events=3, refused={"the line is not JSON": 1})
    >>> b'headrace_pipeline_dead_letters_total{reason="unreadable",stream="clicks"} 1.0' in metrics.text()
    True
    """

    def __init__(
        self,
        stream: Stream,
        groups: Sequence[WindowedGroup],
        size: Size | None = None,
        *,
        newest_ms: int | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._stream, self._groups, self._size = stream, tuple(groups), size
        self._lock = Lock()  # a scrape comes in a thread of its own
        self._since_event, self._since_produced = _Histogram(FRESHNESS), _Histogram(FRESHNESS)
        self._commits, self._batches = _Histogram(COMMITS), _Histogram(BATCHES)
        self._events = self._duplicates = self._disordered = 0
        self._refused = dict.fromkeys(KINDS, 0)
        self._lag: Mapping[str, int] = {}
        self._keys: Mapping[str, int] = {}
        self._newest_ms = NO_TIME if newest_ms is None else newest_ms
        self._sized_ms = NO_TIME
        self.registry.register(self)

    def observe(
        self,
        times: np.ndarray,
        now_ms: float,
        *,
        events: int,
        produced: np.ndarray | None = None,
        refused: Mapping[str, int] | None = None,
        duplicates: int = 0,
        lag: Mapping[str, int] | None = None,
        commit_s: float | None = None,
    ) -> None:
        """Record a batch that was committed at `now_ms` (epoch milliseconds, fractions welcome).

        `times` are the counted events' own times and `produced` when they were written to the
        topic, int64 [n] epoch milliseconds; `events` is how many the batch held altogether and
        `refused` how many became dead letters, by the letters' reasons. `lag` is how many events
        each partition has that were not read; it replaces what was said before.
        """
        with self._lock:
            if times.size:
                self._since_event.add(now_ms - times)
                self._put_in_order(times)
            if produced is not None and produced.size:
                self._since_produced.add(now_ms - produced)
            for reason, count in (refused or {}).items():
                self._refused[kind_of(self._stream, reason)] += count
            self._events += events
            self._duplicates += duplicates
            self._batches.add_one(events)
            if commit_s is not None:
                self._commits.add_one(commit_s)
            if lag is not None:
                self._lag = dict(lag)
            self._look(now_ms)

    def rest(self, now_ms: float, lag: Mapping[str, int]) -> None:
        """Record that nothing came, so that what is told of a stream that stands still is true of it now."""
        with self._lock:
            self._lag = dict(lag)
            self._look(now_ms)

    def text(self) -> bytes:
        """Return every metric in the Prometheus text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric for a scrape; prometheus_client's protocol."""
        with self._lock:
            metrics = [*self._freshness(), *self._work(), *self._state()]
        yield from metrics

    def _look(self, now_ms: float) -> None:
        if self._size is not None and abs(now_ms - self._sized_ms) >= _SIZED_EVERY_MS:
            self._keys, self._sized_ms = {group.name: self._size(group) for group in self._groups}, int(now_ms)

    def _put_in_order(self, times: np.ndarray) -> None:
        before = self._newest_ms - DISORDER_MS
        if self._newest_ms != NO_TIME and times[times.argmin()] < before:
            self._disordered += int(np.count_nonzero(times < before))
        self._newest_ms = max(self._newest_ms, int(times[times.argmax()]))

    def _freshness(self) -> Iterator[Metric]:
        for name, meaning, seen in (
            ("event", "From an event's own time to the commit that made it readable", self._since_event),
            ("produce", "From the production of an event to the commit that made it readable", self._since_produced),
        ):
            metric = HistogramMetricFamily(f"headrace_{name}_to_servable_seconds", meaning, labels=["stream", "group"])
            for group in self._groups:  # they change in one transaction: what is true of one is true of all
                seen.sample(metric, self._stream.name, group.name)
            yield metric

    def _work(self) -> Iterator[Metric]:
        for name, meaning, seen in (
            ("batch_events", "Events of a batch, those refused among them", self._batches),
            ("commit_seconds", "Writing one batch and making it readable", self._commits),
        ):
            histogram = HistogramMetricFamily(f"headrace_pipeline_{name}", meaning, labels=["stream"])
            seen.sample(histogram, self._stream.name)
            yield histogram
        for name, meaning, count in (
            ("events", "Events read and committed, those refused among them", self._events),
            ("duplicates", "Events of an id that had been counted", self._duplicates),
            ("disordered", "Events counted a minute or more behind the newest of their stream", self._disordered),
        ):
            counter = CounterMetricFamily(f"headrace_pipeline_{name}", meaning, labels=["stream"])
            counter.add_metric([self._stream.name], count)
            yield counter
        letters = CounterMetricFamily(
            "headrace_pipeline_dead_letters", "Events that could not be counted", labels=["stream", "reason"]
        )
        for kind, count in self._refused.items():
            letters.add_metric([self._stream.name, kind], count)
        yield letters

    def _state(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("headrace_pipeline_lag_events", "Events not read yet", labels=["stream", "partition"])
        for partition, events in self._lag.items():
            lag.add_metric([self._stream.name, partition], events)
        newest = GaugeMetricFamily(
            "headrace_pipeline_newest_event_timestamp_seconds", "Time of the newest event counted", labels=["stream"]
        )
        if self._newest_ms != NO_TIME:
            newest.add_metric([self._stream.name], self._newest_ms / SECOND)
        keys = GaugeMetricFamily("headrace_group_keys", "Keys held", labels=["stream", "group"])
        tiles = GaugeMetricFamily("headrace_group_tiles", "Tiles held, filled or not", labels=["stream", "group"])
        for group in self._groups:
            if group.name in self._keys:
                keys.add_metric([self._stream.name, group.name], self._keys[group.name])
                tiles.add_metric([self._stream.name, group.name], self._keys[group.name] * group.plan.total)
        yield from (lag, newest, keys, tiles)


def kind_of(stream: Stream, reason: str) -> str:
    """Return the kind, one of KINDS, of a dead letter's reason.

    >>> from headrace.features import Column
    >>> kind_of(Stream("clicks", (Column("at", "timestamp"),), time="at"), "at is missing, an event needs it")
    'missing'
    """
    if reason.startswith("too late"):
        return "late"
    column, _, rest = reason.partition(" is ")
    if column not in stream.names:
        return "unreadable"
    return "missing" if rest.startswith("missing") else "future" if rest.startswith("too far") else "invalid"


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._edges_ms = np.array(bounds) * SECOND
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0

    def add(self, ages_ms: np.ndarray) -> None:
        if ages_ms[ages_ms.argmin()] < 0.0:  # an event from the future is as fresh as can be
            ages_ms = np.maximum(ages_ms, 0.0)
        # A value on an edge belongs below it: buckets are "less or equal".
        self._counts += np.bincount(self._edges_ms.searchsorted(ages_ms), minlength=self._counts.size)
        self._sum += float(np.add.reduce(ages_ms)) / SECOND

    def add_one(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def sample(self, metric: HistogramMetricFamily, *labels: str) -> None:
        edges = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(edges, np.cumsum(self._counts).tolist(), strict=True))
        metric.add_metric(list(labels), buckets, self._sum)

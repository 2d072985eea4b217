"""Counters and histograms that a request can afford: plain numbers, made into samples when they are scraped.

An observation of prometheus_client's own costs about six times as much, because it may come from any thread. These
are counted from one thread, that of the event loop; a scrape from another one may see half of an observation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from operator import add
from typing import Any, Generic, TypeVar

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Count:
    """A number that only grows.

    >>> count = Count()
    >>> count.inc(25)
    >>> count.value
    25
    """

    __slots__ = ("value",)
    kind = CounterMetricFamily

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, by: float = 1) -> None:
        """Add to it."""
        self.value += by

    def sample(self, metric: Any, labels: Sequence[str]) -> None:
        """Add what there is to a metric that is scraped."""
        metric.add_metric(labels, self.value)


class Histogram:
    """How many values lie below each bound, and their sum; in the bounds' unit.

    >>> histogram = Histogram((0.001, 0.01))
    >>> histogram.observe(0.001)
    >>> histogram.observe(3.0)
    >>> histogram.counts, histogram.total
    ([1, 0, 1], 3.001)
    """

    __slots__ = ("bounds", "counts", "total")
    kind = HistogramMetricFamily

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.counts, self.total = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, which several may have in common; one on a bound belongs below it."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def observe_each(self, values: np.ndarray, unit: float = 1.0) -> None:
        """Count values, float64 [n], so many of which are one of the bounds' unit; NaN is none."""
        counts = np.zeros(len(self.counts), dtype=np.int64)
        self.total += _count_each()(values, np.array(self.bounds) * unit, counts) / unit
        self.counts = list(map(add, self.counts, counts.tolist()))

    def sample(self, metric: Any, labels: Sequence[str]) -> None:
        """Add what there is to a metric that is scraped."""
        edges = [*map(floatToGoString, self.bounds), "+Inf"]
        metric.add_metric(labels, list(zip(edges, accumulate(self.counts), strict=True)), self.total)


@cache
def _count_each() -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    from headrace.features.kernels import count_each  # half a second that most commands need not wait

    return count_each


Child = TypeVar("Child", Count, Histogram)


class Family(Collector, Generic[Child]):
    """A metric of one name: a child for each combination of label values, in the order they came.

    >>> rows = counters(CollectorRegistry(), "rows", "Rows asked for", "model_name")
    >>> rows.labels("fraud").inc(3)
    >>> [sample.value for metric in rows.collect() for sample in metric.samples]
    [3]
    """

    def __init__(self, name: str, meaning: str, labels: Sequence[str], kind: Any, new: Callable[[], Child]) -> None:
        self._name, self._meaning, self._labels, self._kind = name, meaning, tuple(labels), kind
        self._new: Callable[[], Child] = new
        self._children: dict[tuple[str, ...], Child] = {}

    def labels(self, *values: str) -> Child:
        """Return the child of these label values, one of its own from now on; meant to be kept by who counts."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._labels):
                raise ValueError(
                    f"metric {self._name!r} was given {len(values)} label values, needs {len(self._labels)}"
                )
            child = self._children[values] = self._new()
        return child

    def adopt(self, child: Child, *values: str) -> Child:
        """Tell of a child of another family under this name too; it is counted once."""
        self._children[values] = child
        return child

    def collect(self) -> Iterator[Metric]:
        """Give the samples as they stand."""
        metric = self._kind(self._name, self._meaning, labels=self._labels)
        for labels, child in list(self._children.items()):
            child.sample(metric, labels)
        yield metric


class Gauges(Collector):
    """A gauge whose values are asked for when it is scraped, by label values."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._asked: dict[tuple[str, ...], Callable[[], float]] = {}

    def ask(self, value: Callable[[], float], *labels: str) -> None:
        """Ask this for the value of these labels from now on."""
        self._asked[labels] = value

    def collect(self) -> Iterator[Metric]:
        """Ask for every value."""
        family = GaugeMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in self._asked.items():
            family.add_metric(labels, value())
        yield family


def counters(registry: CollectorRegistry, name: str, meaning: str, *labels: str) -> Family[Count]:
    """Register a counter; its name ends in `_total` where it is scraped."""
    family = Family(name, meaning, labels, Count.kind, Count)
    registry.register(family)
    return family


def histograms(
    registry: CollectorRegistry, name: str, meaning: str, bounds: Sequence[float], *labels: str
) -> Family[Histogram]:
    """Register a histogram with these bounds."""
    family = Family(name, meaning, labels, Histogram.kind, lambda: Histogram(bounds))
    registry.register(family)
    return family


def gauges(registry: CollectorRegistry, name: str, meaning: str, *labels: str) -> Gauges:
    """Register a gauge."""
    family = Gauges(name, meaning, labels)
    registry.register(family)
    return family

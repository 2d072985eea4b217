"""What the tests of windows share: a small group, and folding lists of events as a store would."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from headrace.features import Window, WindowedGroup, fold, merge
from tests.oracles.naive_windows import Event, Span

STATS = ("count", "sum", "mean", "std", "min", "max", "last")


def group(*windows: Window, stats: tuple[str, ...] = STATS, last: tuple[str, ...] = ("place",)) -> WindowedGroup:
    """Return a group of amounts over these windows."""
    return WindowedGroup("activity", 1, "payments", "key", "at_ms", "amount", stats, windows, last)


def columns(events: list[Event]) -> dict[str, np.ndarray]:
    """Return events as the columns a pipeline folds; None becomes NaN."""
    return {
        "at_ms": np.array([event.at_ms for event in events], dtype=np.int64),
        "amount": np.array([event.value for event in events], dtype=np.float64),
        "place": np.array([event.place for event in events], dtype=np.float64),
    }


def fold_all(
    of: WindowedGroup, events: list[Event], keys: int = 1, cuts: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Fold events in order of arrival, in batches that end at `cuts`; return the records and who came too late."""
    records = of.empty(keys)
    late = []
    edges = [0, *sorted(cuts), len(events)]
    for start, end in pairwise(edges):
        batch = events[start:end]
        row = np.array([event.key for event in batch], dtype=np.int64)
        late.append(fold(of, records, row, columns(batch)))
    return records, np.concatenate(late)


def settled(of: WindowedGroup, records: np.ndarray) -> np.ndarray:
    """Return a copy of records without the tiles that are over, which may be held or not."""
    records, blank = records.copy(), of.empty(1)
    for start, window in zip(of.plan.starts.tolist(), of.windows, strict=True):
        slots = slice(start, start + window.slots)
        tiles = records["tile"][:, slots].copy()
        over = tiles.max(axis=1, keepdims=True) >= tiles + window.slots
        for name in ("tile", *of.fields):
            records[name][:, slots][over] = blank[name][0, start]
    return records


def read(of: WindowedGroup, events: list[Event], as_of: int, key: int = 0) -> dict[str, float]:
    """Fold events in one batch and read one key, by column name."""
    records, _ = fold_all(of, events, keys=1 + max((event.key for event in events), default=key))
    values = merge(of, records[[key]], np.array([as_of]))[0]
    return dict(zip(of.column_names, values.tolist(), strict=True))


def span(window: Window) -> Span:
    """Return a window's parameters as the oracle takes them."""
    return Span(window.length_ms, window.tile_ms, window.delay_ms)

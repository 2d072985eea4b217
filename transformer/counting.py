"""What a run of the request path is counted with: its stages, its rows, and what the store had of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.features.rows import Rows
from headrace.stores.online import Block
from headrace.telemetry import RequestMetrics

#: Seconds that decoding, reading the store and assembling took.
Took = tuple[float, float, float]


def count(metrics: RequestMetrics, took: Took, requests: int, rows: Rows, blocks: Mapping[str, Block]) -> None:
    """Count a run whose model input is made: each of its requests went through its stages, each row has its ages."""
    decoded, read, assembled = took
    metrics.stages["decode"].observe(decoded, requests)
    metrics.store.observe(read, requests)
    metrics.stages["assemble"].observe(assembled, requests)
    metrics.preprocess.observe(decoded + read + assembled, requests)
    metrics.rows.inc(rows.count)
    if rows.invalid:
        metrics.degraded.inc(int(rows.spoiled().sum()))
    for name, block in blocks.items():
        known, default = marked(block.found), marked(block.default)
        if known + default < rows.count:
            metrics.missing[name].inc(rows.count - known - default)
        if block.stale is not None or default:
            metrics.fallback[name, "stale"].inc(marked(block.stale))
            metrics.fallback[name, "default"].inc(default)
        if known:
            metrics.age[name].observe_each(block.age_ms, 1e3)


def fallen_back(blocks: Mapping[str, Block]) -> int:
    """Return how many rows have a group that is not the store's answer."""
    marks = [mark for block in blocks.values() for mark in (block.stale, block.default) if mark is not None]
    return int(np.count_nonzero(np.logical_or.reduce(marks))) if marks else 0


def marked(marks: np.ndarray | None) -> int:
    """Return how many are set; none where there are no marks."""
    return 0 if marks is None else int(np.count_nonzero(marks))

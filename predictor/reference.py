"""Reference histograms: how each column looked in training, to notice later that it changed.

Edges are quantiles, so that every bin held about as many rows; a value that many rows
share (a declared missing value, a zero, a yes) has a bin of its own, as narrow as float32
allows. What lies outside the first and the last edge was never seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 20


def histograms(matrix: np.ndarray, columns: Sequence[str], bins: int = BINS) -> dict[str, dict[str, list[float]]]:
    """Return edges and counts of every column; a bin includes its lower edge, the last one both.

    >>> histograms(np.array([[0.0], [0.0], [1.0], [2.0]]), ["amount"], bins=2)
    {'amount': {'edges': [0.0, 0.5, 2.0], 'counts': [2, 2]}}
    """
    out = {}
    for at, name in enumerate(columns):
        values = matrix[:, at].astype(np.float64)
        edges, times = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)), return_counts=True)
        shared = edges[times > 1].astype(np.float32)
        edges = np.unique(np.append(edges, np.nextafter(shared, np.float32(np.inf))))
        counts, _ = np.histogram(values, edges)
        out[name] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return out


def rows_like(reference: Mapping[str, Any], columns: Sequence[str], rows: int, seed: int = 0) -> np.ndarray:
    """Draw float32 [rows, columns] whose columns, each by itself, look as in training; the same seed, the same rows.

    >>> histogram = {"amount": {"edges": [0.0, 1.0, 9.0], "counts": [2, 0]}}
    >>> bool((rows_like(histogram, ["amount"], 5) <= 1.0).all())
    True
    """
    rng = np.random.default_rng(seed)
    drawn = np.empty((rows, len(columns)), dtype=np.float32)
    for at, name in enumerate(columns):
        edges, counts = np.asarray(reference[name]["edges"]), np.asarray(reference[name]["counts"], dtype=np.float64)
        if not counts.sum():  # one value alone has one edge and no bin
            drawn[:, at] = edges[0]
            continue
        bins = rng.choice(counts.size, rows, p=counts / counts.sum())
        drawn[:, at] = rng.uniform(edges[bins], edges[bins + 1])
    return drawn

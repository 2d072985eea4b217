"""Mergeable summaries of values: count, sum, mean, sample standard deviation, min, max, last, distinct, quantiles.

A summary is a dict of arrays of equal length, one per kept field, holding one summary per
element; in the fields of sketches an element is itself an array. `of` makes summaries from
sorted events, `add` merges two of them, `total` merges sketches along slots, and `finish` turns them
into a statistic. Nulls (NaN) are never counted. Variance merges by the parallel form of
T. Chan, G. Golub and R. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances" (1979). `distinct` and the quantiles `p1` to `p99` are approximate, with the
errors that `headrace.features.sketches` promises; all else is exact up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headrace.features import sketches
from headrace.features.columns import NO_TIME

Summary = dict[str, np.ndarray]

#: Every field a summary may keep: its dtype and its value when nothing was counted.
FIELDS: dict[str, tuple[str, float | int]] = {
    "count": ("f8", 0.0),
    "sum": ("f8", 0.0),
    "m2": ("f8", 0.0),  # sum of squared deviations from the mean
    "min": ("f8", np.inf),
    "max": ("f8", -np.inf),
    "last": ("f8", np.nan),
    "last_ms": ("i8", NO_TIME),
    "registers": (f"({sketches.REGISTERS},)u1", 0),
    "histogram": (f"({sketches.HISTOGRAM},)i4", 0),
}

#: The fields that hold a sketch.
SKETCHES = frozenset({"registers", "histogram"})

#: What each quantile is declared as, and how many percent it is of.
QUANTILES = {f"p{percent}": percent for percent in range(1, 100)}

#: The fields each statistic is finished from.
NEEDS: dict[str, tuple[str, ...]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "mean": ("count", "sum"),
    "std": ("count", "sum", "m2"),
    "min": ("count", "min"),
    "max": ("count", "max"),
    "last": ("count", "last", "last_ms"),
    "distinct": ("count", "registers"),
    **dict.fromkeys(QUANTILES, ("count", "histogram")),
}

#: The statistics as a message names them.
KNOWN = (*(stat for stat in NEEDS if stat not in QUANTILES), "p1 to p99")


def fields_of(stats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields a summary must keep for these statistics, in a fixed order.

    >>> fields_of(("mean", "max"))
    ('count', 'sum', 'max')
    """
    needed = {name for stat in stats for name in NEEDS[stat]}
    return tuple(name for name in FIELDS if name in needed)


def empty(fields: tuple[str, ...], elements: int) -> Summary:
    """Return summaries in which nothing was counted; adding one changes nothing."""
    out = {name: np.zeros(elements, dtype=FIELDS[name][0]) for name in fields}
    for name, column in out.items():
        column[:] = FIELDS[name][1]
    return out


def of(fields: tuple[str, ...], values: np.ndarray, times: np.ndarray, starts: np.ndarray) -> Summary:
    """Summarise consecutive runs of `values` (no NaN), each beginning at an index in `starts`.

    Within a run, events are in time order; of equal times the later one is last.
    """
    ends = np.concatenate((starts[1:], (values.size,)))
    sizes = ends - starts
    out: Summary = {"count": sizes.astype(np.float64)}
    if "sum" in fields:
        out["sum"] = np.add.reduceat(values, starts)
    if "m2" in fields:
        mean = (out["sum"] / out["count"]).repeat(sizes)
        out["m2"] = np.add.reduceat((values - mean) ** 2, starts)
    if "min" in fields:
        out["min"] = np.minimum.reduceat(values, starts)
    if "max" in fields:
        out["max"] = np.maximum.reduceat(values, starts)
    if "last" in fields:
        out["last"], out["last_ms"] = values[ends - 1], times[ends - 1]
    if "registers" in fields:
        out["registers"] = sketches.registers_of(values, starts)
    if "histogram" in fields:
        out["histogram"] = sketches.histogram_of(values, starts)
    return out


def add(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> Summary:
    """Merge summaries element by element; of equally late last values that of `b` wins."""
    out: Summary = {"count": a["count"] + b["count"]}
    if "sum" in a:
        out["sum"] = a["sum"] + b["sum"]
    if "m2" in a:
        gap = b["sum"] / np.maximum(b["count"], 1.0) - a["sum"] / np.maximum(a["count"], 1.0)
        out["m2"] = a["m2"] + b["m2"] + gap**2 * a["count"] * b["count"] / np.maximum(out["count"], 1.0)
    if "min" in a:
        out["min"] = np.minimum(a["min"], b["min"])
    if "max" in a:
        out["max"] = np.maximum(a["max"], b["max"])
    if "last" in a:
        newer = b["last_ms"] >= a["last_ms"]
        out["last"] = np.where(newer, b["last"], a["last"])
        out["last_ms"] = np.where(newer, b["last_ms"], a["last_ms"])
    if "registers" in a:
        out["registers"] = np.maximum(a["registers"], b["registers"])
    if "histogram" in a:
        both = np.stack((a["histogram"], b["histogram"]), axis=1)
        owner = np.arange(len(both)).repeat(2)
        out["histogram"] = sketches.merged(both.reshape(-1, sketches.HISTOGRAM), owner, len(both))
    return out


def total(tiles: Any, fields: tuple[str, ...], kept: np.ndarray, starts: np.ndarray, window: np.ndarray) -> Summary:
    """Merge the counts and the sketches, `fields`, of the kept slots of each window; the rest is merged by `merging`.

    `tiles[field]` and `kept` are [n, slots]; window w owns the slots from `starts[w]` on,
    and `window[slot]` names it. Returns counts [n, windows] and sketches [n, windows, size].
    """
    counts = np.where(kept, tiles["count"], 0.0)
    out: Summary = {"count": np.add.reduceat(counts, starts, axis=1)}
    if "registers" in fields:
        filled = tiles["registers"] * (counts > 0).view(np.uint8)[:, :, None]
        ends = np.append(starts[1:], window.size)
        parts = [filled[:, start:end].max(axis=1) for start, end in zip(starts, ends, strict=True)]
        out["registers"] = np.stack(parts, axis=1)
    if "histogram" in fields:
        out["histogram"] = _histogram(tiles, counts > 0, out["count"].shape, window)
    return out


def _histogram(tiles: Any, filled: np.ndarray, shape: tuple[int, int], window: np.ndarray) -> np.ndarray:
    row, slot = filled.nonzero()
    owner = row * shape[1] + window[slot]
    merged = sketches.merged(tiles["histogram"][row, slot], owner, shape[0] * shape[1])
    return merged.reshape(*shape, sketches.HISTOGRAM)


def finish(stat: str, summary: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a statistic as float64; NaN where it has no value (no events, or one for `std`)."""
    count = summary["count"]
    if stat in ("count", "sum"):
        return summary[stat]
    if stat == "mean":
        return np.where(count > 0, summary["sum"] / np.maximum(count, 1.0), np.nan)
    if stat == "std":
        return np.where(count > 1, np.sqrt(summary["m2"] / np.maximum(count - 1.0, 1.0)), np.nan)
    if stat == "distinct":
        return sketches.distinct(summary["registers"])
    if stat in QUANTILES:
        return sketches.quantile(QUANTILES[stat], summary["histogram"])
    return np.where(count > 0, summary[stat], np.nan)

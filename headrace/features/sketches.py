"""Sketches: how many values are distinct, and where their quantiles lie, in a fixed number of bytes.

Both are arrays, one sketch a row, and all zeros is the sketch of nothing. A sketch depends
only on the values in it, not on their order or on how they were divided: parts merged are
equal, bit for bit, to the sketch of the whole. Values are float64 without NaN.

**Distinct values**: HyperLogLog, 256 registers of a byte (P. Flajolet, E. Fusy, O. Gandouet,
F. Meunier, 2007), read by the improved raw estimator (O. Ertl, "New Cardinality Estimation
Algorithms for HyperLogLog Sketches", 2017), to the nearest whole number. Its relative
standard error is 6.5 % (1.04 / sqrt(256)) for any number of values.

**Quantiles**: a histogram of 123 buckets that grow with the values in them, in 512 bytes. A
bucket holds the values of one sign that agree in their exponent and the first k bits of their
mantissa (H. Hartmann, T. Schlossnagle, "Circllhist", 2020); k is the largest, up to 20, by
which all values fit, and is lowered for all buckets at once as values come (I. Epicoco et al.,
"UDDSketch", 2020). A quantile is off by at most 2^-(k+1) of itself: 0.00005 % of a value
alone, 3.1 % where the values (if of both signs, each sign's together) lie within 7 powers of
two, 6.3 % within 15, 12.5 % within 30, 25 % within 61, 50 % within 123. Values further apart
share buckets of several powers of two, and a quantile is only one of its bucket.
"""

from __future__ import annotations

import math

import numpy as np

REGISTERS = 256
#: The five numbers before the buckets: the bits that bucket numbers are shifted by, how many buckets are of negative
#: values, the number of the first of those (that furthest from zero) and of the first positive one, and how many zeros.
_SHIFT, _NEGATIVES, _TOP, _LOW, _ZEROS, _HEAD = range(6)
HISTOGRAM = 128
_BUCKETS = HISTOGRAM - _HEAD
_WIDEST = 1 << 31  # above every bucket number
_WORD = 32  # bits of a bucket number
_INFINITE = 0x7FF00000  # the bucket number, unshifted, of infinity
_LARGEST = np.finfo(np.float64).max


def registers_of(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the registers of consecutive runs of `values`, uint8 [runs, REGISTERS]."""
    mixed = _mixed(values)
    # Of 52 bits, 1 more than how many are zero before the first one: exact, since a double holds 53.
    rank = 53 - np.frexp((mixed & np.uint64(2**52 - 1)).astype(np.float64))[1]
    out = np.zeros((starts.size, REGISTERS), dtype=np.uint8)
    at = _owners(starts, values.size) * REGISTERS + (mixed >> np.uint64(56)).astype(np.int64)
    np.maximum.at(out.reshape(-1), at, rank.astype(np.uint8))
    return out


def distinct(registers: np.ndarray) -> np.ndarray:
    """Return about how many distinct values there were, a whole float64 for each sketch.

    >>> seen = registers_of(np.array([3.0, 5.0, 3.0, 8.0]), np.array([0, 3]))
    >>> distinct(seen), distinct(np.maximum(seen[:1], seen[1:]))
    (array([2., 1.]), array([3.]))
    """
    unused = (registers == 0).sum(axis=-1)
    weight = _WEIGHT[registers].sum(axis=-1) + REGISTERS * _SIGMA[unused]
    return np.rint(REGISTERS**2 / (2 * math.log(2)) / weight)


def histogram_of(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the histograms of consecutive runs of `values`, int32 [runs, HISTOGRAM]."""
    size = np.minimum(np.abs(values), _LARGEST)
    bucket = size.view(np.int64) >> 32
    counted = (size > 0).nonzero()[0]
    owner = _owners(starts, values.size)
    out = _packed(
        starts.size, owner[counted], values[counted] < 0, bucket[counted], np.zeros_like(counted), np.ones_like(counted)
    )
    out[:, _ZEROS] = np.add.reduceat(size == 0, starts, dtype=np.int32)
    return out


def merged(histograms: np.ndarray, owner: np.ndarray, owners: int) -> np.ndarray:
    """Merge histograms [m, HISTOGRAM] that have the same `owner`, ascending in 0 to owners - 1, [m].

    One with a head that no values make, as damage leaves, counts for nothing.
    """
    histograms = _sound(histograms)
    flat = histograms.reshape(-1)
    place = (flat != 0).nonzero()[
        0
    ]  # of all numbers, since finding them in a part of each row takes four times as long
    cell = place % HISTOGRAM - _HEAD
    place, cell = place[cell >= 0], cell[cell >= 0]
    row = place // HISTOGRAM
    shift, negatives, top, low = (histograms[:, at].astype(np.int64)[row] for at in range(_ZEROS))
    beyond = cell - negatives
    negative = beyond < 0
    bucket = np.where(negative, top - cell, low + beyond)
    out = _packed(owners, owner[row], negative, bucket, shift, flat[place])
    some = histograms[:, _ZEROS].nonzero()[0]
    np.add.at(out[:, _ZEROS], owner[some], histograms[some, _ZEROS])
    return out


def quantile(percent: int, histograms: np.ndarray) -> np.ndarray:
    """Return about the least value that at least `percent` of a sketch's values do not exceed; NaN of none.

    >>> of = histogram_of(np.array([-4.0, 0.0, 2.0, 10.0]), np.array([0]))
    >>> [round(float(quantile(percent, of)[0]), 1) for percent in (25, 50, 75, 99)]
    [-4.1, 0.0, 2.0, 10.1]
    """
    head, cells = histograms[..., :_HEAD].astype(np.int64), histograms[..., _HEAD:]
    upto = cells.cumsum(axis=-1, dtype=np.int64)
    zeros, negatives = head[..., _ZEROS], head[..., _NEGATIVES]
    below = np.where(np.arange(_BUCKETS) < negatives[..., None], cells, 0).sum(axis=-1, dtype=np.int64)
    count = upto[..., -1] + zeros
    rank = (count * percent + 99) // 100
    is_zero = (rank > below) & (rank <= below + zeros)
    rank = np.where(rank > below, rank - zeros, rank)
    cell = (upto < rank[..., None]).sum(axis=-1)
    beyond = cell - negatives
    bucket = np.where(beyond < 0, head[..., _TOP] - cell, head[..., _LOW] + beyond)
    value = np.where(beyond < 0, -1.0, 1.0) * _middle(bucket, head[..., _SHIFT])
    return np.where(count > 0, np.where(is_zero, 0.0, value), np.nan)


def _sound(histograms: np.ndarray) -> np.ndarray:
    """Return histograms [m, HISTOGRAM] with nothing in those whose buckets have numbers that none has.

    Such a one would count into the histograms beside it, or beyond all of them.
    """
    shift, negatives, top, low, zeros = (histograms[:, at] for at in range(_HEAD))
    kept = (shift >= 0) & (shift < _WORD) & (zeros >= 0) & (low >= 0)
    kept &= (negatives >= 0) & (negatives <= _BUCKETS) & (top >= negatives - 1)
    return histograms if kept.all() else np.where(kept[:, None], histograms, 0)


def _owners(starts: np.ndarray, size: int) -> np.ndarray:
    return np.arange(starts.size).repeat(np.diff(starts, append=size))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread values over 64 bits: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Generators" (2014)."""
    bits = (values + 0.0).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)  # of both zeros, the positive one
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _packed(
    owners: int, owner: np.ndarray, negative: np.ndarray, bucket: np.ndarray, shift: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """Put counted buckets, in ascending order of owner and numbered at their own shift, into one histogram each."""
    out = np.zeros((owners, HISTOGRAM), dtype=np.int32)
    if not owner.size:
        return out
    starts = np.concatenate(((True,), owner[1:] != owner[:-1])).nonzero()[0]
    run = _owners(starts, owner.size)
    shifts = np.maximum.reduceat(shift, starts)
    bucket = bucket >> (shifts[run] - shift)
    low, high = _range(bucket, ~negative, starts)
    bottom, top = _range(bucket, negative, starts)
    coarser = _coarser(low, high, bottom, top)
    bucket, low, bottom, top = bucket >> coarser[run], low >> coarser, bottom >> coarser, top >> coarser
    negatives = top - bottom + 1
    head = (shifts + coarser, negatives, np.maximum(top, 0), low)
    out[owner[starts], :_ZEROS] = np.stack(head, axis=1)
    cell = np.where(negative, top[run] - bucket, negatives[run] + bucket - low[run])
    np.add.at(out.reshape(-1), owner * HISTOGRAM + _HEAD + cell, count.astype(np.int32))
    return out


def _range(bucket: np.ndarray, mine: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest of my buckets in each run; 0 and -1, a range of none, where there is none."""
    largest = np.maximum.reduceat(np.where(mine, bucket, -1), starts)
    least = np.minimum.reduceat(np.where(mine, bucket, _WIDEST), starts)
    return np.where(largest < 0, 0, least), largest


def _coarser(low: np.ndarray, high: np.ndarray, bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the least shift by which both ranges fit into the buckets."""
    widest = np.maximum(high - low, top - bottom)
    shift = np.maximum(np.frexp(widest.astype(np.float64))[1].astype(np.int64) - _BUCKETS.bit_length(), 0)
    while True:
        wide = (high >> shift) - (low >> shift) + (top >> shift) - (bottom >> shift) + 2 > _BUCKETS
        if not wide.any():
            return shift
        shift += wide


def _middle(bucket: np.ndarray, shift: np.ndarray) -> np.ndarray:
    edges = np.minimum(np.stack((bucket << shift, (bucket + 1) << shift)), _INFINITE) << 32
    low, high = np.minimum(edges.view(np.float64), _LARGEST)
    return low + (high - low) / 2


def _sigma(share: float) -> float:
    if share == 1.0:
        return math.inf
    total, doubled, before = share, 1.0, -1.0
    while total != before:
        share, before = share * share, total
        total += share * doubled
        doubled *= 2.0
    return total


_WEIGHT = np.concatenate(((0.0,), 0.5 ** np.arange(1, 256)))  # of a register that is used; values leave up to 53 there
_SIGMA = np.array([_sigma(unused / REGISTERS) for unused in range(REGISTERS + 1)])  # of how many are not

"""Statistics of ranges of consecutive values: sums and squares by exact prefix sums, extremes by doubling.

A range is [low, high) in an array of finite float64 values. Prefix sums of floats lose what a
difference of two of them needs; here each value is cut into two integers of up to 52 bits, whose
prefix sums are exact whatever the order and wherever they begin, also when they wrap around.
What a range sums to is put together in double-double arithmetic (T. Dekker, "A Floating-Point
Technique for Extending the Available Precision", 1971), with a bound on its error; the few
ranges whose bound is too large are computed from their values instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The relative error of a sum or a sum of squared deviations above which it is computed from the values.
TOLERANCE = 2.0**-43
#: Values at or above this cannot be squared, nor can integers be cut from them.
LARGEST = 2.0**480
_SPLIT = 2.0**27 + 1  # Veltkamp's constant: a float64 into two halves of 26 bits
_AT_ONCE = 1 << 20  # values in memory together when ranges are computed from them


@dataclass(slots=True)
class Sums:
    """Sums, and sums of squared deviations from the mean, of any range of `values`.

    Values come in runs that no range crosses; each run is scaled by a power of two of its own.
    """

    values: np.ndarray
    unit: np.ndarray  # [values] the power of two a value was divided by
    bits: int
    first: tuple[np.ndarray, np.ndarray]  # prefix sums [values + 1] of the values' upper and lower integers
    second: tuple[np.ndarray, np.ndarray] | None  # as first, of the squares
    exact: bool  # whether the two integers hold every value whole

    @classmethod
    def of(cls, values: np.ndarray, starts: np.ndarray, longest: int, *, squares: bool) -> Sums:
        """Prepare runs that begin at `starts` (the first at 0) for ranges of up to `longest` values below LARGEST."""
        top = np.maximum.reduceat(np.abs(values), starts) if values.size else np.zeros(0)
        exponent = np.clip(np.frexp(top)[1], -480, 480)
        lengths = np.diff(np.append(starts, values.size))
        bits = min(52, 62 - int(longest).bit_length())
        unit = np.repeat(np.ldexp(1.0, exponent), lengths)
        scaled = values / unit
        first, exact = _prefix(scaled, None, bits)
        exact &= bool((scaled * unit == values).all())  # else the smallest beside very large ones became 0
        second = None
        if squares:
            square = scaled * scaled
            second, _ = _prefix(square, _square_error(scaled, square), bits)
        return cls(values, unit, bits, first, second, exact)

    def between(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the sum of every range, 0 where it is empty, and that of squared deviations from its mean."""
        many = np.flatnonzero(high - low > 1)
        if many.size * 2 > low.size:
            return self._all_between(low, high)
        sums = (
            np.where(high > low, self.values[np.minimum(low, self.values.size - 1)], 0.0) if self.values.size else None
        )
        sums = np.zeros(low.size) if sums is None else sums
        spread = None if self.second is None else np.zeros(low.size)
        sums[many], of_many = self._all_between(low[many], high[many])
        if spread is not None:
            spread[many] = of_many
        return sums, spread

    def _all_between(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        count = (high - low).astype(np.float64)
        unit = self.unit[np.minimum(low, self.unit.size - 1)] if self.unit.size else np.ones(low.size)
        resolution = count * 0.5 ** (2 * self.bits)
        total, rest = self._between(self.first, low, high)
        doubtful = np.zeros(low.size, dtype=bool)
        if not self.exact:
            doubtful = np.abs(total) * TOLERANCE < resolution
        sums, spread = total * unit, None
        if self.second is not None:
            spread, bound = _spread(count, total, rest, *self._between(self.second, low, high))
            doubtful |= spread * TOLERANCE < bound + 4 * count * resolution
            spread *= unit * unit / np.maximum(count, 1.0)
            single = count < 2
            spread[single] = 0.0
            doubtful &= ~single | (not self.exact)
        doubtful &= count > 0
        self._recompute(np.flatnonzero(doubtful), low, high, sums, spread)
        return sums, spread

    def _between(
        self, prefix: tuple[np.ndarray, np.ndarray], low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        upper, lower = (sums[high] - sums[low] for sums in prefix)
        head = upper.astype(np.float64)
        tail = (upper - head.astype(np.int64)) + lower * 0.5**self.bits
        scale = 0.5**self.bits
        total = head + tail
        back = total - head
        rest = (head - (total - back)) + (tail - back)
        return total * scale, rest * scale

    def _recompute(
        self, which: np.ndarray, low: np.ndarray, high: np.ndarray, sums: np.ndarray, spread: np.ndarray | None
    ) -> None:
        if not which.size:
            return
        lowest, highest = extremes(self.values, low[which], high[which])
        equal = lowest == highest
        if spread is not None:
            spread[which[equal]] = 0.0
        if not self.exact:
            sums[which[equal]] = lowest[equal] * (high - low)[which[equal]]
        which = which[~equal]
        ends = np.cumsum(high[which] - low[which])
        for part in np.split(which, np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1):
            index, starts = _spelt(low[part], high[part])
            taken, count = self.values[index], high[part] - low[part]
            sums[part] = np.add.reduceat(taken, starts)
            if spread is not None:
                taken = taken - np.repeat(taken[starts], count)  # so that the mean is no larger than the deviations
                mean = np.repeat(np.add.reduceat(taken, starts) / count, count)
                spread[part] = np.add.reduceat((taken - mean) ** 2, starts)


def _spelt(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every index of every range one after another, and where each range begins; none is empty."""
    count = high - low
    starts = np.cumsum(count) - count
    return np.arange(int(count.sum())) + np.repeat(low - starts, count), starts


def _prefix(scaled: np.ndarray, error: np.ndarray | None, bits: int) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
    """Return the prefix sums of the upper and lower integers of values in [-1, 1], and whether nothing is left."""
    grid = 2.0**bits
    scaled = scaled * grid
    upper = np.rint(scaled)
    rest = scaled - upper
    if error is not None:
        rest += error * grid
    rest *= grid
    lower = np.rint(rest)
    return (_summed(upper), _summed(lower)), bool((lower == rest).all())


def _summed(whole: np.ndarray) -> np.ndarray:
    out = np.zeros(whole.size + 1, dtype=np.int64)
    np.cumsum(whole.astype(np.int64), out=out[1:])
    return out


def _halves(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = a * _SPLIT
    upper = wide - (wide - a)
    return upper, a - upper


def _square_error(a: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return what a rounded square lacks of the exact one."""
    upper, lower = _halves(a)
    return ((upper * upper - square) + 2 * upper * lower) + lower * lower


def _spread(
    count: np.ndarray, total: np.ndarray, rest: np.ndarray, square: np.ndarray, square_rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return count * sum of squares - (sum)^2 in double-double arithmetic, and a bound on its error."""
    scaled = count * square
    upper, lower = _halves(square)
    count_upper, count_lower = _halves(count)
    scaled_rest = (
        ((count_upper * upper - scaled) + count_upper * lower + count_lower * upper) + count_lower * lower
    ) + count * square_rest
    other = total * total
    other_rest = _square_error(total, other) + 2 * total * rest
    gap = scaled - other
    back = gap - scaled
    gap_rest = (scaled - (gap - back)) - (other + back)
    return gap + (gap_rest + (scaled_rest - other_rest)), scaled * 2.0**-100


def extremes(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest value of every range, inf and -inf where it is empty.

    A range is covered by two runs of the greatest power of two that fits in it; runs twice as long are made
    from runs of the step before, for all ranges of that step at once.
    """
    least, most = np.full(low.size, np.inf), np.full(low.size, -np.inf)
    step = np.frexp((high - low).astype(np.float64))[1].astype(np.uint8)  # 0 is empty; s covers 2^(s-1) to 2^s - 1
    order = np.argsort(step, kind="stable")
    ends = np.cumsum(np.bincount(step, minlength=1))
    down = up = values
    for at in range(1, ends.size):
        width = 1 << (at - 1)
        if at > 1:
            half = width >> 1
            down, up = np.minimum(down[:-half], down[half:]), np.maximum(up[:-half], up[half:])
        mine = order[ends[at - 1] : ends[at]]
        if mine.size:
            left, right = low[mine], high[mine] - width
            least[mine] = np.minimum(down[left], down[right])
            most[mine] = np.maximum(up[left], up[right])
    return least, most

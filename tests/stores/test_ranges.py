"""Ranges of values by exact prefix sums and by doubling, against rational arithmetic and loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.stores.ranges import LARGEST, Sums, extremes

# Cents, whole numbers, cancelling signs, values near one another and far from zero, and of every size at once.
cents = st.integers(-100_000, 100_000).map(lambda cent: cent / 100)
near = st.integers(0, 4).map(lambda step: 1.7e12 + step)
sizes = st.floats(-1e100, 1e100, allow_nan=False)
values = st.sampled_from([cents, near, sizes, st.sampled_from([0.0, 0.1, -0.1, 1e140, -1e140, 5e-324])]).flatmap(
    lambda kind: st.lists(kind | st.just(0.1), min_size=1, max_size=30)
)


def all_ranges(size: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every range of a run that begins at `start`."""
    pairs = [(low, high) for low in range(start, size + 1) for high in range(low, size + 1)]
    return np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])


def sums_of(before: list[float], given_values: list[float]) -> tuple[np.ndarray, np.ndarray, list[list[Fraction]]]:
    """Return sums and spreads of every range of a run of values that another run comes before, and its values."""
    both = np.array(before + given_values, dtype=np.float64)
    starts = np.unique([0, len(before)])
    low, high = all_ranges(both.size, len(before))
    total, spread = Sums.of(both, starts, both.size, squares=True).between(low, high)
    assert spread is not None
    taken = [[Fraction(value) for value in both[a:b].tolist()] for a, b in zip(low, high, strict=True)]
    return total, spread, taken


@given(st.lists(sizes, max_size=3), values)
@example([1e100], [0.1, 0.1, 0.1])
@example([], [1.7e12, 1.7e12 + 1, 1.7e12 + 1])
@example([], [1e140, 0.1, 0.2, 0.2])
@example([], [1e140, 5e-324, 5e-324])
@example([], [1e140, 1e-200, 3e-200])
def test_sums_and_spreads_are_those_of_rational_arithmetic(before, given_values):
    total, spread, taken = sums_of(before, given_values)
    for got_sum, got_spread, exactly in zip(total.tolist(), spread.tolist(), taken, strict=True):
        wanted = sum(exactly, Fraction(0))
        mean = wanted / max(len(exactly), 1)
        squares = sum(((value - mean) ** 2 for value in exactly), Fraction(0))
        scale = sum(map(abs, exactly), Fraction(0))
        assert abs(Fraction(got_sum) - wanted) <= max(abs(wanted) / 10**12, scale / 10**15)
        assert got_spread >= 0
        assert abs(Fraction(got_spread) - squares) <= squares / 10**11 + Fraction(1, 10**300)
        if len(set(exactly)) <= 1:
            assert got_spread == 0


@given(st.lists(cents, min_size=1, max_size=30))
def test_cents_are_summed_as_exactly_as_a_float_can_say(given_values):
    total, _, taken = sums_of([], given_values)
    assert total.tolist() == [float(sum(exactly, Fraction(0))) for exactly in taken]


def test_sums_over_millions_of_values_keep_every_bit():
    random = np.random.default_rng(5)
    many = np.round(random.gamma(1.5, 40.0, 300_000), 2)
    low = np.array([0, 299_998, 7, 150_000])
    high = np.array([300_000, 300_000, 8, 150_010])
    total, spread = Sums.of(many, np.array([0]), many.size, squares=True).between(low, high)
    assert spread is not None
    for at, (a, b) in enumerate(zip(low, high, strict=True)):
        exactly = [Fraction(value) for value in many[a:b].tolist()]
        mean = sum(exactly) / len(exactly)
        assert total[at] == float(sum(exactly))
        assert spread[at] == pytest.approx(float(sum((value - mean) ** 2 for value in exactly)), rel=1e-15)


def test_nothing_to_sum():
    nothing = np.zeros(2, dtype=np.int64)
    total, spread = Sums.of(np.zeros(0), np.zeros(0, dtype=np.int64), 0, squares=True).between(nothing, nothing)
    assert total.tolist() == [0, 0]
    assert spread is not None
    assert spread.tolist() == [0, 0]
    assert [part.tolist() for part in extremes(np.zeros(0), nothing, nothing)] == [[np.inf] * 2, [-np.inf] * 2]
    assert np.finfo(np.float64).max > LARGEST**2


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=40))
def test_extremes_are_those_of_a_loop(given_values):
    low, high = all_ranges(len(given_values), 0)
    least, most = extremes(np.array(given_values), low, high)
    ranges = [given_values[a:b] for a, b in zip(low, high, strict=True)]
    assert least.tolist() == [min(taken, default=np.inf) for taken in ranges]
    assert most.tolist() == [max(taken, default=-np.inf) for taken in ranges]

"""Sketches: errors within what their docstrings promise, and nothing but the values decides what is in them."""

from collections.abc import Sequence

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import sketches
from tests.oracles.naive_windows import statistic

ONE = np.zeros(1, dtype=np.int64)
PERCENTS = (1, 5, 25, 50, 75, 95, 99)
LARGEST = np.finfo(np.float64).max
SMALLEST_NORMAL = np.finfo(np.float64).tiny

anything = st.lists(
    st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, LARGEST, 5e-324]), max_size=30
)


def histogram(values: Sequence[float]) -> np.ndarray:
    """Return the histogram of some values, [1, HISTOGRAM]."""
    if not len(values):
        return np.zeros((1, sketches.HISTOGRAM), dtype=np.int32)
    return sketches.histogram_of(np.array(values), ONE)


def registers(values: Sequence[float]) -> np.ndarray:
    """Return the registers of some values, [1, REGISTERS]."""
    if not len(values):
        return np.zeros((1, sketches.REGISTERS), dtype=np.uint8)
    return sketches.registers_of(np.array(values), ONE)


def merged(*histograms: np.ndarray) -> np.ndarray:
    """Merge histograms into one."""
    return sketches.merged(np.concatenate(histograms), np.zeros(len(histograms), dtype=np.int64), 1)


def bound(of: np.ndarray) -> float:
    """Return the promised relative error of a histogram's quantiles."""
    return 2.0 ** (of[0, 0] - 21)


@given(anything, anything, anything)
def test_parts_merged_in_any_order_and_grouping_are_the_sketch_of_the_whole(a, b, c):
    whole, (x, y, z) = histogram(a + b + c), map(histogram, (a, b, c))
    for parts in (merged(merged(x, y), z), merged(x, merged(y, z)), merged(z, y, x), merged(x, y, z)):
        np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(np.maximum(np.maximum(*map(registers, (a, b))), registers(c)), registers(a + b + c))


@given(anything, st.randoms())
def test_a_sketch_does_not_depend_on_order_nor_distinct_on_repetition(values, chance):
    shuffled = [*values, *values]
    chance.shuffle(shuffled)
    np.testing.assert_array_equal(histogram(shuffled), merged(histogram(values), histogram(values)))
    np.testing.assert_array_equal(registers(shuffled), registers(values))


@given(anything.filter(bool))
def test_a_quantile_lies_in_the_bucket_of_the_value_it_stands_for(values):
    of = histogram(values)
    for percent in PERCENTS:
        wanted, got = statistic(f"p{percent}", values), sketches.quantile(percent, of)[0]
        assert np.sign(got) == np.sign(wanted)
        assert bucket(got, of) == bucket(wanted, of)
        if np.abs(wanted) >= SMALLEST_NORMAL and bound(of) <= 0.5:
            assert abs(got / wanted - 1) <= bound(of) * (1 + 1e-9)


def bucket(value: float, of: np.ndarray) -> int:
    """Return the number of the bucket a histogram has for a value."""
    return int(np.abs(np.float64(value)).view(np.int64)) >> 32 >> int(of[0, 0])


@pytest.mark.parametrize(
    ("powers", "error"), [(1, 0.0079), (3, 0.0157), (7, 0.0313), (15, 0.0625), (30, 0.125), (61, 0.25), (123, 0.5)]
)
def test_the_error_of_a_quantile_is_bounded_by_how_far_values_lie_apart(powers, error):
    values = 2.0 ** np.random.default_rng(1).uniform(0, powers, 5_000)
    for sign in (1.0, -1.0):
        of = sketches.histogram_of(np.append(values, (1.0, 2.0**powers * (1 - 1e-9))) * sign, ONE)
        assert bound(of) <= error


def test_a_value_alone_is_told_almost_exactly():
    for value in (0.0, 3.37, -81.5, 1e-200, -1e200):
        assert sketches.quantile(50, histogram([value] * 9))[0] == pytest.approx(value, rel=5e-7, abs=0)


@pytest.mark.parametrize("count", [1, 3, 10, 30, 100, 300, 1_000, 10_000])
def test_the_relative_standard_error_of_distinct_is_as_promised(count):
    chance = np.random.default_rng(count)
    errors = []
    for _ in range(200 if count <= 1_000 else 100):
        values = chance.choice(10 * count, count, replace=False) * 0.01
        errors.append(sketches.distinct(registers([*values, *values[:5]]))[0] / count - 1)
    assert np.sqrt(np.mean(np.square(errors))) <= 1.15 * 1.04 / np.sqrt(sketches.REGISTERS)
    assert abs(np.mean(errors)) <= 0.025  # of ten values, two may look like one
    assert count > 3 or np.max(np.abs(errors)) <= 1 / 3


def test_a_sketch_of_as_many_registers_by_others_errs_about_as_much():
    chance = np.random.default_rng(7)
    ours, theirs = [], []
    for _ in range(100):
        values = chance.random(2_000)
        judge = datasketches.hll_union(8)  # 256 registers, merged as tiles are
        for part in np.split(values, 4):
            sketch = datasketches.hll_sketch(8)
            for value in part.tolist():
                sketch.update(value)
            judge.update(sketch)
        ours.append(sketches.distinct(registers(values))[0] / 2_000 - 1)
        theirs.append(judge.get_estimate() / 2_000 - 1)
    assert np.std(ours) <= 1.3 * np.std(theirs)


def test_sketches_are_read_side_by_side_in_any_shape():
    chance = np.random.default_rng(3)
    values, starts = chance.normal(size=600), np.arange(0, 600, 100)
    counted, placed = sketches.registers_of(values, starts), sketches.histogram_of(values, starts)
    assert sketches.distinct(counted.reshape(2, 3, -1)).ravel().tolist() == sketches.distinct(counted).tolist()
    for percent in PERCENTS:
        together = sketches.quantile(percent, placed.reshape(2, 3, -1)).ravel()
        alone = [sketches.quantile(percent, histogram(part))[0] for part in np.split(values, 6)]
        assert together.tolist() == alone


def test_both_zeros_are_one_value():
    assert sketches.distinct(registers([0.0, -0.0]))[0] == 1
    np.testing.assert_array_equal(histogram([0.0, -0.0]), histogram([0.0, 0.0]))


@given(
    st.lists(anything.filter(bool), min_size=2, max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 4) | st.integers(0, sketches.HISTOGRAM - 1),
            st.integers(-200, 200) | st.integers(-(2**31), 2**31 - 1),
        ),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_a_damaged_histogram_is_nobody_elses_loss(parts, damage, data):
    histograms = np.concatenate([histogram(values) for values in parts])
    owner = np.arange(len(parts))
    wanted = sketches.merged(histograms, owner, len(parts))
    hurt = data.draw(st.integers(0, len(parts) - 1))
    for at, number in damage:
        histograms[hurt, at] = number
    got = sketches.merged(histograms, owner, len(parts))
    sketches.quantile(50, got)
    others = owner != hurt
    np.testing.assert_array_equal(got[others], wanted[others])


@pytest.mark.parametrize(
    ("at", "number"), [(0, 32), (0, -1), (1, -1), (1, 124), (2, -2), (3, -1), (4, -1)], ids=lambda value: str(value)
)
def test_a_histogram_that_no_values_make_counts_for_nothing(at, number):
    of = histogram([-4.0, 0.0, 2.0, 10.0])
    of[0, at] = number
    np.testing.assert_array_equal(merged(of, histogram([3.0])), histogram([3.0]))


def test_a_damaged_register_is_a_wrong_number_and_no_error():
    of = registers([3.0, 5.0])
    of[0, :3] = 255, 54, 100
    assert np.isfinite(sketches.distinct(of)).all()

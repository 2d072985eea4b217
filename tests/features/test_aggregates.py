"""Summaries merge like the values they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import aggregates
from tests.oracles.naive_windows import statistic

#: Every statistic there is; of the quantiles, which are read alike, a few.
STATS = (*(stat for stat in aggregates.NEEDS if stat not in aggregates.QUANTILES), "p1", "p50", "p95", "p99")
FIELDS = tuple(aggregates.FIELDS)
ONE = np.zeros(1, dtype=np.int64)

events = st.lists(st.tuples(st.integers(0, 50), st.integers(-1000, 1000).map(float)), max_size=12)


def summary(of: list[tuple[int, float]]) -> aggregates.Summary:
    """Return the summary of one element."""
    if not of:
        return aggregates.empty(FIELDS, 1)
    ordered = sorted(of, key=lambda event: event[0])
    times, values = np.array([at for at, _ in ordered]), np.array([value for _, value in ordered])
    return aggregates.of(FIELDS, values, times, ONE)


def assert_same(a: aggregates.Summary, b: aggregates.Summary) -> None:
    """Compare field by field, up to rounding."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-6, err_msg=name)


@given(events, events, events)
def test_merging_is_associative(a, b, c):
    a, b, c = map(summary, (a, b, c))
    assert_same(aggregates.add(aggregates.add(a, b), c), aggregates.add(a, aggregates.add(b, c)))


@given(events)
def test_the_empty_summary_changes_nothing_on_either_side(some):
    assert_same(aggregates.add(summary(some), summary([])), summary(some))
    assert_same(aggregates.add(summary([]), summary(some)), summary(some))


@given(events, events)
def test_merging_two_parts_is_summarising_the_whole(a, b):
    later = [(at + 100, value) for at, value in b]  # so that "last" does not depend on who came first
    assert_same(aggregates.add(summary(a), summary(later)), summary(a + later))


@given(events, events)
def test_merging_sketches_in_either_order_gives_the_same(a, b):
    a, b = summary(a), summary(b)
    for name in aggregates.SKETCHES:
        np.testing.assert_array_equal(aggregates.add(a, b)[name], aggregates.add(b, a)[name])


@given(events)
def test_every_statistic_is_what_its_definition_says(some):
    ordered = [value for _, value in sorted(some, key=lambda event: event[0])]
    for stat in STATS:
        got, (rtol, atol) = aggregates.finish(stat, summary(some))[0], tolerances(stat, len(some))
        np.testing.assert_allclose(got, statistic(stat, ordered), rtol=rtol, atol=atol, err_msg=stat)


def tolerances(stat: str, count: int) -> tuple[float, float]:
    """Return how far, relative and absolute, a statistic of a dozen values below a thousand may be off."""
    if stat in aggregates.QUANTILES:
        return 0.125, 0.0  # at most ten powers of two of each sign
    return (0.0, 1 + count / 3) if stat == "distinct" else (1e-9, 1e-9)


def test_runs_are_summarised_side_by_side():
    out = aggregates.of(FIELDS, np.array([1.0, 3.0, 5.0]), np.array([1, 2, 3]), np.array([0, 2]))
    assert out["count"].tolist() == [2, 1]
    assert out["m2"].tolist() == [2, 0]
    assert out["last"].tolist() == [3, 5]
    assert aggregates.finish("distinct", out).tolist() == [2, 1]
    np.testing.assert_allclose(aggregates.finish("p50", out), [1, 5], rtol=0.01)


@pytest.mark.parametrize("stat", STATS)
def test_a_summary_keeps_only_what_its_statistic_needs(stat):
    fields = aggregates.fields_of((stat,))
    assert set(fields) == set(aggregates.NEEDS[stat])
    out = aggregates.of(fields, np.array([2.0, 4.0]), np.array([1, 2]), ONE)
    assert np.isfinite(aggregates.finish(stat, aggregates.add(out, out))).all()

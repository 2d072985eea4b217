"""Windows of sketches: served and framed, they are the sketch of the values that a window covers, bit for bit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Column, FeatureView, Plan, Window, WindowedGroup, fold, merge, sketches
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.offline import training_frame
from headrace.stores.online import Lookup
from tests.features.streaming import columns, fold_all, span
from tests.oracles import naive_windows
from tests.oracles.naive_windows import Event

WINDOWS = (Window("a", 120), Window("b", 100, tile_ms=30), Window("c", 7), Window("d", 60, delay_ms=45))
STATS = ("count", "distinct", "p5", "mean", "p50", "p99")
GROUP = WindowedGroup("activity", 1, "payments", "key", "at_ms", "amount", STATS, WINDOWS, ("place",))
VIEW = FeatureView(
    "v",
    1,
    (Column("key", "int64"), Column("at_ms", "timestamp")),
    (GROUP,),
    tuple(f"activity.{name}" for name in GROUP.column_names[:-1]),
    time="at_ms",
)
KEYS = 3
SKETCHED = [at for at in range(len(WINDOWS) * len(STATS)) if STATS[at % len(STATS)] not in ("count", "mean")]

amounts = st.none() | st.integers(-50, 50).map(float) | st.floats(-1e9, 1e9)
arrivals = st.lists(st.builds(Event, st.integers(0, KEYS - 1), st.integers(-300, 300), amounts, st.none()), max_size=40)


def expected(events: list[Event], key: int, as_of: int) -> list[float]:
    """Return the sketched columns of one key, from the sketch of all values that each window covers."""
    row = []
    for window in WINDOWS:
        covered = naive_windows.covered(events, key, span(window), as_of)
        values, start = np.array([event.value for event in covered], dtype=np.float64), np.zeros(1, dtype=np.int64)
        if not covered:
            row += [0.0, np.nan, np.nan, np.nan]
            continue
        histogram = sketches.histogram_of(values, start)
        row.append(sketches.distinct(sketches.registers_of(values, start))[0])
        row += [sketches.quantile(percent, histogram)[0] for percent in (5, 50, 99)]
    return row


@given(arrivals.filter(bool), st.lists(st.integers(0, 40), max_size=4), st.integers(1, 200))
def test_a_stream_is_read_as_the_sketch_of_the_values_covered(events, cuts, wait):
    as_of = max(event.at_ms for event in events) + wait
    records, _ = fold_all(GROUP, events, KEYS, tuple(min(cut, len(events)) for cut in cuts))
    got = merge(GROUP, records, np.full(KEYS, as_of))[:, SKETCHED]
    np.testing.assert_array_equal(got, [expected(events, key, as_of) for key in range(KEYS)])


@given(arrivals, st.lists(st.tuples(st.integers(0, KEYS), st.integers(-300, 500)), min_size=1, max_size=8))
def test_a_frame_is_the_sketch_of_the_values_covered_at_any_instant(events, spine):
    history = {"key": np.array([event.key for event in events], dtype=np.int64), **columns(events)}
    asked = {"key": np.array([key for key, _ in spine]), "at_ms": np.array([at for _, at in spine])}
    got = training_frame(VIEW, asked, {"payments": history}).features[:, SKETCHED]
    np.testing.assert_array_equal(got, np.float32([expected(events, key, as_of) for key, as_of in spine]))


@given(arrivals.filter(bool), st.integers(1, 200))
def test_serving_after_a_stream_gives_the_very_row_a_frame_gives(events, wait):
    as_of = max(event.at_ms for event in events) + wait
    records, _ = fold_all(GROUP, events, KEYS)
    request = {"key": np.arange(KEYS), "at_ms": np.full(KEYS, as_of)}
    served = Plan.of(VIEW).compute(KEYS, request, {"activity": merge(GROUP, records, request["at_ms"])})
    history = {"key": np.array([event.key for event in events]), **columns(events)}
    framed = training_frame(VIEW, request, {"payments": history}).features
    np.testing.assert_array_equal(served[:, SKETCHED], framed[:, SKETCHED])
    np.testing.assert_allclose(served, framed, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_store_keeps_sketches_of_numbers_of_any_dtype(tmp_path: Path, dtype: type):
    events = [Event(1, 100 + at, float(at % 7)) for at in range(20)]
    store = EmbeddedStore(tmp_path / "s", durable=False)
    store.declare([GROUP])
    keys = np.array([1])
    with store.transaction("payments", {"0": 0}) as change:
        records = change.records(GROUP, keys)
        given_as = columns(events)
        fold(GROUP, records, np.zeros(20, dtype=np.int64), {**given_as, "amount": given_as["amount"].astype(dtype)})
        change.write(GROUP, keys, records)
        change.advance({"0": 20})
    block = asyncio.run(store.read([Lookup(GROUP, keys)], np.array([130])))[0]
    np.testing.assert_array_equal(block.values[0, SKETCHED], expected(events, 1, 130))
    assert block.values[0, GROUP.column_names.index("amount_distinct_a")] == 7
    store.close()

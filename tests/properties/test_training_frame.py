"""Training frames and streams agree with the definition, and so with each other, at any instant."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Column, FeatureView, OnDemand, Plan, Window, WindowedGroup, merge
from headrace.stores.offline import training_frame
from tests.features.streaming import STATS, columns, fold_all, span
from tests.oracles import naive_windows
from tests.oracles.naive_windows import Event

WINDOWS = (Window("a", 120), Window("b", 100, tile_ms=30), Window("c", 7), Window("d", 60, delay_ms=45))
GROUP = WindowedGroup("activity", 1, "payments", "key", "at_ms", "amount", STATS, WINDOWS, ("place",))
PLACE = OnDemand("place", np.positive, ("activity.last_place",))
VIEW = FeatureView(
    "v",
    1,
    (Column("key", "int64"), Column("at_ms", "timestamp")),
    (GROUP,),
    (*(f"activity.{name}" for name in GROUP.column_names[:-1]), PLACE),
    time="at_ms",
)
KEYS = 3

instants = st.integers(-300, 300) | st.integers(-10, 10).map(lambda edge: edge * 30)
amounts = st.none() | st.integers(-50, 50).map(float)
events_in_any_order = st.lists(st.builds(Event, st.integers(0, KEYS - 1), instants, amounts, amounts), max_size=40)
spines = st.lists(st.tuples(st.integers(0, KEYS), instants | st.integers(300, 900)), min_size=1, max_size=20)


def expected(events: list[Event], key: int, as_of: int) -> list[float]:
    """Return one row by the definition, in the order of the view."""
    row = naive_windows.read(events, key, [span(window) for window in WINDOWS], STATS, as_of)
    newest = naive_windows.newest(events, key, as_of)
    return [*row, np.nan if newest is None or newest.place is None else newest.place]


def framed(events: list[Event], spine: list[tuple[int, int]]) -> np.ndarray:
    """Return the training frame of a spine of keys and instants."""
    history = {"key": np.array([event.key for event in events], dtype=np.int64), **columns(events)}
    asked = {"key": np.array([key for key, _ in spine]), "at_ms": np.array([at for _, at in spine])}
    return training_frame(VIEW, asked, {"payments": history}).features


@given(events_in_any_order, spines)
def test_a_frame_is_what_the_definition_says_at_any_instant(events, spine):
    got = framed(events, spine)
    for row, (key, as_of) in zip(got, spine, strict=True):
        np.testing.assert_allclose(row, expected(events, key, as_of), rtol=1e-5, atol=1e-4)


@given(events_in_any_order, spines)
def test_a_frame_never_sees_an_event_at_or_after_its_row(events, spine):
    as_of = spine[0][1]
    past = [event for event in events if event.at_ms < as_of]
    np.testing.assert_array_equal(framed(events, spine[:1]), framed(past, spine[:1]))


@given(events_in_any_order.filter(bool), st.integers(1, 400), st.lists(st.integers(0, 40), max_size=3))
def test_serving_after_a_stream_gives_the_very_row_a_frame_gives(events, wait, cuts):
    as_of = max(event.at_ms for event in events) + wait
    records, _ = fold_all(GROUP, events, KEYS, tuple(min(cut, len(events)) for cut in cuts))
    block = merge(GROUP, records, np.full(KEYS, as_of))
    request = {"key": np.arange(KEYS), "at_ms": np.full(KEYS, as_of)}
    served = Plan.of(VIEW).compute(KEYS, request, {"activity": block})
    np.testing.assert_allclose(served, framed(events, [(key, as_of) for key in range(KEYS)]), rtol=1e-6, atol=1e-5)

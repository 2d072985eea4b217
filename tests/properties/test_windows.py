"""Streams of any disorder, read back: the windows are what their definition says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Window, batches, fold, merge
from headrace.features.tiles import NO_TILE
from tests.features.streaming import STATS, columns, fold_all, group, settled, span
from tests.oracles import naive_windows
from tests.oracles.naive_windows import Event

#: Ordinary, with a length no multiple of its tile, one tile long, and of one-millisecond tiles.
PLAIN = (Window("a", 120), Window("b", 100, tile_ms=30), Window("c", 40, tile_ms=40), Window("d", 7))
DELAYED = (
    Window("a", 120, delay_ms=70),
    Window("b", 100, delay_ms=95, tile_ms=30),
    Window("c", 60, delay_ms=60, tile_ms=60),
)
KEYS = 3

instants = st.one_of(
    st.integers(-500, 500), st.integers(-40, 40).map(lambda edge: edge * 30), st.sampled_from([0, 10, 120])
)
amounts = st.one_of(st.none(), st.integers(-50, 50).map(float))
places = st.one_of(st.none(), st.integers(0, 9).map(float))
arrivals = st.lists(st.builds(Event, st.integers(0, KEYS - 1), instants, amounts, places), min_size=1, max_size=40)


@st.composite
def batched(draw: st.DrawFn) -> tuple[list[Event], tuple[int, ...]]:
    """Draw events in order of arrival, and where the batches end."""
    events = draw(arrivals)
    return events, tuple(draw(st.lists(st.integers(0, len(events)), max_size=4)))


@given(batched(), st.integers(0, 300))
def test_a_stream_read_after_its_newest_event_is_what_the_definition_says(stream, wait):
    events, cuts = stream
    of = group(*PLAIN)
    records, _ = fold_all(of, events, KEYS, cuts)
    as_of = max(event.at_ms for event in events) + 1 + wait
    got = merge(of, records, np.full(KEYS, as_of))
    for key in range(KEYS):
        wanted = naive_windows.read(events, key, [span(w) for w in of.windows], STATS, as_of)
        newest = naive_windows.newest(events, key, as_of)
        place = np.nan if newest is None or newest.place is None else newest.place
        np.testing.assert_allclose(got[key], [*wanted, place], rtol=1e-9, atol=1e-9)


@given(batched(), st.integers(0, 300))
def test_a_delayed_window_counts_late_labels_by_when_they_happened(stream, wait):
    events, cuts = stream
    of = group(*DELAYED, last=())
    records, _ = fold_all(of, events, KEYS, cuts)
    as_of = max(event.at_ms for event in events) + 1 + wait
    got = merge(of, records, np.full(KEYS, as_of))
    for key in range(KEYS):
        wanted = naive_windows.read(events, key, [span(w) for w in of.windows], STATS, as_of)
        np.testing.assert_allclose(got[key], wanted, rtol=1e-9, atol=1e-9)


@given(batched())
def test_a_stream_read_before_each_event_never_sees_that_event(stream):
    events, _ = stream
    events = sorted(events, key=lambda event: event.at_ms)
    of = group(*PLAIN)
    for at, event in enumerate(events):
        earlier = [other for other in events[:at] if other.at_ms < event.at_ms]
        if not earlier:
            continue
        records, _ = fold_all(of, earlier, KEYS)
        got = merge(of, records[[event.key]], np.array([event.at_ms]))[0, :-1]
        wanted = naive_windows.read(events, event.key, [span(w) for w in of.windows], STATS, event.at_ms)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


@given(batched())
def test_batches_may_end_anywhere(stream):
    events, cuts = stream
    of = group(*PLAIN, *DELAYED[:0])
    whole, late_whole = fold_all(of, events, KEYS)
    parts, late_parts = fold_all(of, events, KEYS, cuts)
    assert_same_records(whole, parts)
    assert late_whole.tolist() == late_parts.tolist()


@given(st.data())
def test_events_of_distinct_times_may_arrive_in_any_order(data):
    events = data.draw(
        st.lists(
            st.builds(Event, st.just(0), instants, amounts, places),
            min_size=1,
            max_size=30,
            unique_by=lambda event: event.at_ms,
        )
    )
    shuffled = data.draw(st.permutations(events))
    of = group(*PLAIN, *[Window("e", 90, delay_ms=30)])
    assert_same_records(*(settled(of, fold_all(of, arrived)[0]) for arrived in (events, shuffled)))


@given(batched())
def test_an_event_is_too_late_only_when_no_later_read_would_have_counted_it(stream):
    events, cuts = stream
    of = group(*PLAIN)
    _, late = fold_all(of, events, KEYS, cuts)
    for at in np.flatnonzero(late):
        event = events[at]
        seen = max(other.at_ms for other in events[:at] if other.key == event.key)
        assert not any(span(window).covers(event.at_ms, seen + 1) for window in of.windows)


@given(batched(), st.sampled_from([0, -(10**12), 10**15]), st.integers(1, 9))
def test_every_slot_and_every_late_event_is_what_folding_one_by_one_gives(stream, epoch, spread):
    events = [event._replace(at_ms=epoch + event.at_ms * spread) for event in stream[0]]
    of = group(*PLAIN, Window("e", 90, delay_ms=30), stats=("count", "sum", "min", "max"))
    records, late = fold_all(of, events, KEYS, stream[1])
    wanted, late_wanted = naive_windows.fold(events, [span(window) for window in of.windows])
    assert late.tolist() == late_wanted
    for key, rings in wanted.items():
        for start, ring in zip(of.plan.starts, rings, strict=True):
            held = records[key]
            for slot in range(ring.slots):
                values = ring.values.get(slot, [])
                at = start + slot
                assert held["tile"][at] == ring.tile.get(slot, NO_TILE)
                assert (held["count"][at], held["sum"][at]) == (len(values), sum(values))
                assert (held["min"][at], held["max"][at]) == (
                    min(values, default=np.inf),
                    max(values, default=-np.inf),
                )


@given(
    batched(),
    st.sampled_from([0, -(10**12), 10**15]),
    st.sampled_from([STATS, ("count",), ("std", "last"), ("max",)]),
)
def test_machine_code_and_arrays_give_the_same_slots_and_late_events(stream, epoch, stats):
    events = [event._replace(at_ms=epoch + event.at_ms) for event in stream[0]]
    of = group(*PLAIN, Window("e", 90, delay_ms=30), stats=stats)
    compiled, vectorised = of.empty(KEYS), of.empty(KEYS)
    for start, end in pairwise([0, *sorted(stream[1]), len(events)]):
        if batch := events[start:end]:
            row, given_as = np.array([event.key for event in batch]), columns(batch)
            late = fold(of, compiled, row, given_as)
            times, values, last = given_as["at_ms"], given_as["amount"], [given_as["place"]]
            assert late.tolist() == batches.fold(of.tiles, vectorised, row, times, values, last).tolist()
    assert_same_records(settled(of, compiled), settled(of, vectorised))


@given(batched(), st.sampled_from([STATS, ("count", "distinct")]), st.integers(-600, 600))
def test_tiles_that_are_over_may_be_dropped_between_any_batches(stream, stats, as_of):
    events, cuts = stream
    of = group(*PLAIN, Window("e", 90, delay_ms=30), stats=stats)
    kept, dropped = of.empty(KEYS), of.empty(KEYS)
    for start, end in pairwise([0, *sorted(cuts), len(events)]):
        batch = events[start:end]
        row, given_as = np.array([event.key for event in batch], dtype=np.int64), columns(batch)
        dropped = settled(of, dropped)
        assert fold(of, kept, row, given_as).tolist() == fold(of, dropped, row, given_as).tolist()
    assert_same_records(settled(of, kept), settled(of, dropped))
    read_at = np.full(KEYS, as_of)  # before the newest event, too
    np.testing.assert_allclose(merge(of, kept, read_at), merge(of, settled(of, dropped), read_at), rtol=1e-9)


@given(batched(), st.integers(-600, 600), st.sampled_from([STATS, ("std", "last")]))
def test_a_read_at_any_instant_counts_what_is_held_and_not_over(stream, as_of, stats):
    events, cuts = stream
    windows = (*PLAIN, *(replace(window, label=f"{window.label} later") for window in DELAYED))
    of, sketched = group(*windows, stats=stats, last=()), group(*windows, stats=(*stats, "distinct"), last=())
    spans, read_at = [span(window) for window in windows], np.full(KEYS, as_of)
    wanted = [naive_windows.read_folded(events, key, spans, stats, as_of) for key in range(KEYS)]
    np.testing.assert_allclose(merge(of, fold_all(of, events, KEYS, cuts)[0], read_at), wanted, rtol=1e-9, atol=1e-9)
    beside = merge(sketched, fold_all(sketched, events, KEYS, cuts)[0], read_at).reshape(KEYS, len(windows), -1)
    np.testing.assert_allclose(beside[:, :, :-1].reshape(KEYS, -1), wanted, rtol=1e-9, atol=1e-9)


@given(arrivals)
def test_keys_do_not_touch_each_other(events):
    of = group(*PLAIN)
    together, _ = fold_all(of, events, KEYS)
    for key in range(KEYS):
        alone, _ = fold_all(of, [event for event in events if event.key == key], KEYS)
        assert_same_records(together[[key]], alone[[key]])


def assert_same_records(a: np.ndarray, b: np.ndarray) -> None:
    """Compare records field by field, sums of squares up to rounding."""
    for name in a.dtype.names or ():
        np.testing.assert_allclose(a[name], b[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_columns_folded_are_those_of_the_group():
    assert set(columns([Event(0, 1, 2.0)])) == {"at_ms", "amount", "place"}

"""What is shown of a key is what its windows are read from: the values of merge, the tiles of the definition."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Window, explain, merge
from tests.features.streaming import STATS, fold_all, group, span
from tests.oracles import naive_windows
from tests.oracles.naive_windows import Event, floor_to

WINDOWS = (
    Window("a", 120),
    Window("b", 100, tile_ms=30),
    Window("c", 120, delay_ms=70),
    Window("d", 100, delay_ms=95, tile_ms=30),
    Window("e", 7),
)
GROUP = group(*WINDOWS)

amounts = st.one_of(st.none(), st.integers(-50, 50).map(float))
arrivals = st.lists(
    st.builds(Event, st.just(0), st.integers(-500, 500), amounts, st.integers(0, 9).map(float)), min_size=1, max_size=40
)


@given(arrivals, st.integers(-300, 300))
def test_the_values_shown_are_those_merge_returns_at_any_instant(events, wait):
    records, _ = fold_all(GROUP, events)
    as_of = max(event.at_ms for event in events) + wait
    shown = explain(GROUP, records, as_of)
    values = [value for window in shown.windows for value in window.values.values()]
    np.testing.assert_array_equal([*values, *shown.last.values()], merge(GROUP, records, np.array([as_of]))[0])
    assert shown.exact == (wait > 0)
    assert shown.newest_ms == max(event.at_ms for event in events)


@given(arrivals, st.integers(1, 300))
def test_the_covered_tiles_are_those_of_the_events_the_definition_covers(events, wait):
    records, _ = fold_all(GROUP, events)
    as_of = max(event.at_ms for event in events) + wait
    shown = explain(GROUP, records, as_of)
    for window, reading in zip(WINDOWS, shown.windows, strict=True):
        mine = naive_windows.covered(events, 0, span(window), as_of)
        by_tile: dict[int, list[float]] = {}
        for event in mine:
            by_tile.setdefault(floor_to(event.at_ms, window.tile_ms), []).append(event.value or 0.0)
        covered = {tile.start_ms: tile for tile in reading.tiles if tile.covered}
        assert covered.keys() == by_tile.keys()
        for start, tile in covered.items():
            assert tile.end_ms == start + window.tile_ms
            wanted = [naive_windows.statistic(name, by_tile[start]) for name in STATS]
            np.testing.assert_allclose([tile.values[name] for name in STATS], wanted, rtol=1e-9, atol=1e-9)


@given(arrivals, st.integers(-300, 300), st.integers(-700, 700))
def test_the_span_of_a_window_holds_the_instants_the_definition_covers(events, wait, instant):
    records, _ = fold_all(GROUP, events)
    as_of = max(event.at_ms for event in events) + wait
    for window, reading in zip(WINDOWS, explain(GROUP, records, as_of).windows, strict=True):
        assert (reading.from_ms <= instant < reading.to_ms) == span(window).covers(instant, as_of)


@given(arrivals)
def test_tiles_are_in_order_of_time_and_none_is_empty(events):
    records, _ = fold_all(GROUP, events)
    for window in explain(GROUP, records, 500).windows:
        starts = [tile.start_ms for tile in window.tiles]
        assert starts == sorted(set(starts))
        assert all(tile.values["count"] > 0 for tile in window.tiles)


@given(arrivals)
def test_sketched_statistics_are_shown_of_windows_and_of_tiles(events):
    whole = group(Window("all", 2_000, tile_ms=2_000), stats=("distinct", "p50"), last=())
    records, _ = fold_all(whole, [event._replace(at_ms=event.at_ms + 2_500) for event in events])
    window = explain(whole, records, 4_000).windows[0]
    assert window.values["distinct"] == merge(whole, records, np.array([4_000]))[0, 0]
    for tile in window.tiles:  # of which there is one
        assert tile.covered
        assert {name: tile.values[name] for name in whole.stats} == window.values


def test_a_record_that_is_not_there_or_of_another_layout_is_not_found():
    other = GROUP.empty(1)
    other["layout"] = 7
    other["newest_ms"] = 5
    for record in (GROUP.empty(1), other):
        shown = explain(GROUP, record, 1000)
        assert not shown.found
        assert shown.exact
        assert shown.newest_ms is None
        assert all(not window.tiles for window in shown.windows)
        assert shown.windows[0].values["count"] == 0
        assert math.isnan(shown.last["place"])


def test_tiles_tell_their_count_where_the_group_does_not():
    of = group(Window("a", 120), stats=("mean",), last=())
    records, _ = fold_all(of, [Event(0, 5, 2.0), Event(0, 6, 4.0)])
    window = explain(of, records, 7).windows[0]
    assert window.tiles[0].values == {"count": 2.0, "mean": 3.0}
    assert window.values == {"mean": 3.0}


def test_plain_data_is_json_and_what_is_missing_is_null():
    records, _ = fold_all(GROUP, [Event(0, 5, 2.0)])
    plain = explain(GROUP, records, 7).as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    first = plain["windows"][0]
    assert first["values"]["std"] is None
    assert first["values"]["max"] == 2.0
    assert first["tiles"] == [
        {"start_ms": 0, "end_ms": 10, "covered": True, "count": 1.0, "sum": 2.0, "mean": 2.0, "std": None, "min": 2.0,
         "max": 2.0, "last": 2.0}
    ]  # fmt: skip
    assert plain["last"] == {"place": None}

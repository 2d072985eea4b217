"""Windows at their edges: what is inside, what is outside, and what came too late."""

import numpy as np
import pytest

from applications.fraud.features import CARD_ACTIVITY
from headrace.features import DAY, MINUTE, Column, FeatureView, Window, WindowedGroup, fold, merge
from headrace.features.windows import seen
from tests.features.streaming import columns, fold_all, group, read
from tests.oracles.naive_windows import Event

T = 10
LENGTH = 120


def counts(events: list[Event], as_of: int, window: Window) -> float:
    """Return how many events of key 0 a window counts."""
    return read(group(window), events, as_of)["amount_count_w"]


@pytest.mark.parametrize(
    ("at_ms", "as_of", "inside"),
    [
        (999, 1000, True),
        (1000, 1000, False),  # the head is exclusive, on a tile's edge
        (1004, 1005, True),
        (880, 1000, True),  # the tail is inclusive
        (879, 1000, False),
        (880, 1005, True),  # and rounded down to a tile
        (879, 1005, False),
    ],
)
def test_an_undelayed_window_covers_from_the_tile_of_its_tail_until_just_before_as_of(at_ms, as_of, inside):
    # An event at as_of is folded only after the read, as a stream does.
    events = [Event(0, at_ms, 1.0)] if at_ms < as_of else []
    assert counts(events, as_of, Window("w", LENGTH)) == inside


@pytest.mark.parametrize(
    ("at_ms", "as_of", "inside"),
    [
        (899, 1000, True),
        (900, 1000, False),  # as_of - delay lies on an edge: the head is exclusive
        (900, 1009, False),  # and rounded down to a tile
        (900, 1010, True),
        (780, 1000, True),
        (779, 1000, False),
    ],
)
def test_a_delayed_window_rounds_both_ends_down(at_ms, as_of, inside):
    assert counts([Event(0, at_ms, 1.0)], as_of, Window("w", LENGTH, delay_ms=100)) == inside


def test_instants_before_the_epoch_round_down_too():
    window = Window("w", LENGTH)
    assert counts([Event(0, -120, 1.0)], 0, window) == 1
    assert counts([Event(0, -121, 1.0)], 0, window) == 0
    assert counts([Event(0, -125, 1.0)], -1, window) == 1  # the tail is -121, in the tile that begins at -130


def test_a_window_empties_by_itself_when_events_stop():
    events = [Event(0, 500, 3.0)]
    assert counts(events, 501, Window("w", LENGTH)) == 1
    row = read(group(Window("w", LENGTH)), events, 10_000)
    assert row["amount_count_w"] == row["amount_sum_w"] == 0
    assert np.isnan([row[f"amount_{stat}_w"] for stat in ("mean", "std", "min", "max", "last")]).all()


def test_a_gap_longer_than_the_window_leaves_nothing_of_the_slots_reused():
    window = Window("w", LENGTH)
    lap = window.slots * window.tile_ms
    events = [Event(0, 500, 100.0), Event(0, 500 + lap, 1.0), Event(0, 500 + 7 * lap, 2.0)]
    row = read(group(window), events, 500 + 7 * lap + 1)
    assert (row["amount_count_w"], row["amount_max_w"]) == (1, 2.0)


def test_a_slot_that_went_once_around_holds_only_the_newer_tile():
    window = Window("w", LENGTH)
    of = group(window)
    newer = 500 + window.slots * window.tile_ms
    for events in ([Event(0, 500, 1.0), Event(0, newer, 2.0)], [Event(0, newer, 2.0), Event(0, 500, 1.0)]):
        records, _ = fold_all(of, events)
        assert records["count"].sum() == 1
        assert records["sum"].sum() == 2.0


def test_an_event_whose_tile_is_over_in_every_window_is_too_late_though_its_slot_is_free():
    of = group(Window("w", LENGTH), Window("v", 2 * LENGTH, tile_ms=T))
    lap = of.windows[1].slots * T  # the next tile in the same slot of the longer one
    for ahead, too_late in ((lap - T, False), (lap, True), (lap + 3 * T, True)):
        events = [Event(0, 500 + ahead, 1.0), Event(0, 500, 1.0), Event(1, 500, 1.0)]
        for cuts in ((), (1,)):
            _, late = fold_all(of, events, keys=2, cuts=cuts)
            assert late.tolist() == [False, too_late, False]


def test_a_window_read_before_the_newest_event_is_without_the_tiles_that_one_ended():
    window = Window("w", LENGTH)
    events = [Event(0, at, 1.0) for at in range(5, LENGTH, T)]
    assert counts([*events, Event(0, LENGTH + 30, 1.0)], LENGTH, window) == 9
    assert counts([*events, Event(0, 2 * LENGTH, 1.0)], LENGTH, window) == 0


def test_an_event_too_late_for_one_window_still_counts_in_a_longer_one():
    of = group(Window("w", LENGTH, tile_ms=T), Window("v", 2 * LENGTH, tile_ms=T))
    events = [Event(0, 500 + 13 * T, 1.0), Event(0, 500, 1.0)]
    records, late = fold_all(of, events)
    row = dict(zip(of.column_names, merge(of, records, np.array([631]))[0], strict=True))
    assert not late.any()
    assert (row["amount_count_w"], row["amount_count_v"]) == (1, 2)


@pytest.mark.parametrize("at_ms", [240, 370])  # in the slot that 500 maps to, laps earlier
def test_a_null_event_makes_no_other_event_late(at_ms):
    events = [Event(0, 500, None), Event(0, at_ms, 1.0)]
    for cuts in ((), (1,)):
        records, late = fold_all(group(Window("w", LENGTH)), events, cuts=cuts)
        assert records["count"].sum() == 1
        assert not late.any()


def test_an_empty_batch_changes_nothing():
    of = group(Window("w", LENGTH))
    records = of.empty(1)
    assert fold(of, records, np.zeros(0, dtype=np.int64), columns([])).shape == (0,)
    assert records.tobytes() == of.empty(1).tobytes()


def test_records_that_lie_apart_are_folded_in_place():
    of = group(Window("w", LENGTH))
    apart, together = of.empty(6)[::2], of.empty(3)
    for records in (apart, together):
        fold(of, records, np.array([2, 0]), columns([Event(2, 100, 1.0), Event(0, 90, 2.0)]))
    assert apart.tobytes() == together.tobytes()
    assert apart["count"].sum() == 2


def test_more_records_than_a_short_integer_counts_are_told_apart():
    of = group(Window("w", 1), stats=("count",), last=())
    records, row = of.empty(70_000), np.array([69_999, 69_999 - 2**16, 69_999])
    assert not fold(of, records, row, columns([Event(0, 100, 1.0)] * 3)).any()
    assert records["count"].sum(axis=1)[row].tolist() == [2, 1, 2]


def test_of_equal_times_the_later_arrival_is_last():
    events = [Event(0, 100, 1.0, 7.0), Event(0, 100, 2.0, 8.0)]
    for cuts in ((), (1,)):
        records, _ = fold_all(group(Window("w", LENGTH)), events, cuts=cuts)
        row = merge(group(Window("w", LENGTH)), records, np.array([101]))[0]
        assert row[-2:].tolist() == [2.0, 8.0]


def test_an_event_out_of_order_does_not_replace_the_newest_columns():
    row = read(group(Window("w", LENGTH)), [Event(0, 100, 1.0, 7.0), Event(0, 90, 2.0, 8.0)], 101)
    assert (row["last_place"], row["amount_last_w"]) == (7.0, 1.0)


def test_nulls_are_not_counted_but_their_event_is_the_newest():
    row = read(group(Window("w", LENGTH)), [Event(0, 100, 4.0, 7.0), Event(0, 110, None, None)], 111)
    assert (row["amount_count_w"], row["amount_mean_w"], row["amount_last_w"]) == (1, 4.0, 4.0)
    assert np.isnan(row["last_place"])


def test_the_spread_of_one_event_is_missing_and_of_two_is_the_sample_one():
    window = Window("w", LENGTH)
    assert np.isnan(read(group(window), [Event(0, 100, 4.0)], 101)["amount_std_w"])
    assert read(group(window), [Event(0, 100, 4.0), Event(0, 105, 6.0)], 106)["amount_std_w"] == pytest.approx(2**0.5)


def test_a_small_spread_survives_a_large_mean():
    events = [Event(0, at, 1e9 + at % 3) for at in range(100, 160)]
    spread = read(group(Window("w", LENGTH)), events, 161)["amount_std_w"]
    assert spread == pytest.approx(np.std([at % 3 for at in range(100, 160)], ddof=1), rel=1e-7)


def test_records_of_another_layout_read_as_empty():
    of, other = group(Window("w", LENGTH)), group(Window("w", LENGTH), stats=("count",))
    records, _ = fold_all(of, [Event(0, 100, 4.0, 7.0)])
    records["layout"] = other.layout.fingerprint
    row = merge(of, records, np.array([101]))[0]
    assert row[0] == 0
    assert np.isnan(row[2:]).all()


def test_each_row_is_read_at_its_own_instant():
    of = group(Window("w", LENGTH), stats=("count",), last=())
    records, _ = fold_all(of, [Event(0, 100, 1.0)])
    assert merge(of, records[[0, 0, 0]], np.array([101, 229, 230])).ravel().tolist() == [1, 1, 0]


def test_a_read_is_exact_only_after_the_newest_event_and_knows_how_old_that_is():
    of = group(Window("w", LENGTH))
    records, _ = fold_all(of, [Event(0, 100, 1.0)], keys=2)
    records = records[[0, 0, 0, 1, 0]]
    records["layout"][4] ^= 1
    found, age_ms, exact = seen(of, records, np.array([90, 100, 101, 0, 0]))
    assert found.tolist() == [True, True, True, False, False]
    assert exact.tolist() == [False, False, True, True, True]
    np.testing.assert_array_equal(age_ms, [0, 0, 1, np.nan, np.nan])


def test_sketches_lie_in_a_record_by_whole_words_and_leave_other_layouts_as_they_were():
    plain, sketched = (group(Window("w", LENGTH), stats=("count", *more)) for more in ((), ("distinct", "p50", "p95")))
    assert sketched.column_names[:4] == ("amount_count_w", "amount_distinct_w", "amount_p50_w", "amount_p95_w")
    assert sketched.layout.size - plain.layout.size == 13 * (256 + 512)
    assert CARD_ACTIVITY.layout.fingerprint == 0xE057F16D6D4FC56B


def test_of_no_events_none_is_distinct_and_no_quantile_is_known():
    of = group(Window("w", LENGTH), stats=("distinct", "p50"), last=())
    assert merge(of, of.empty(1), np.array([0]))[0, 0] == 0
    assert np.isnan(merge(of, of.empty(1), np.array([0]))[0, 1])
    view = FeatureView("v", 1, (Column("key", "int64"),), (of,), tuple(f"activity.{name}" for name in of.column_names))
    np.testing.assert_array_equal(view.missing, [0.0, np.nan])


def test_names_run_window_by_window_and_the_last_columns_close_the_row():
    of = WindowedGroup("g", 1, "s", "k", "t", "v", ("count", "max"), (Window("a", 60), Window("b", 120)), ("x",))
    assert of.column_names == ("v_count_a", "v_max_a", "v_count_b", "v_max_b", "last_x")


def test_a_tile_is_a_twelfth_of_its_window_and_a_ring_holds_delay_and_length():
    assert Window("10m", 10 * MINUTE).tile_ms == 50_000
    assert Window("a", 5).tile_ms == 1
    assert Window("1d", DAY, delay_ms=7 * DAY).slots == 8 * 12 + 1


@pytest.mark.parametrize(
    "parameters", [{"length_ms": 0}, {"length_ms": -5}, {"delay_ms": -1}, {"tile_ms": 121}, {"tile_ms": -1}]
)
def test_an_impossible_window_says_what_it_was_and_what_it_needs(parameters):
    with pytest.raises(
        ValueError, match=r"window 'w' has length -?\d+, delay -?\d+ and tile -?\d+ ms, needs a positive"
    ):
        Window("w", **{"length_ms": LENGTH, **parameters})


def test_a_group_names_the_statistics_it_does_not_know_and_columns_named_twice():
    with pytest.raises(ValueError, match=r"statistics \('median',\) over 1 windows, needs .* among \('count'"):
        group(Window("w", LENGTH), stats=("median",))
    for unlike in ("p0", "p100", "p05", "p", "p99.9", "quantile"):
        with pytest.raises(ValueError, match=r"needs .* among \('count', .*'distinct', 'p1 to p99'\)"):
            group(Window("w", LENGTH), stats=(unlike,))
    with pytest.raises(ValueError, match="over 0 windows, needs at least one window"):
        group()
    with pytest.raises(ValueError, match="names a column twice, needs distinct windows"):
        group(Window("w", LENGTH), Window("w", 60))

"""Records on disk: what is read is what was written, whole or packed, one or many at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import Window, WindowedGroup, fold
from headrace.features.windows import NO_TILE, merge, seen
from headrace.stores.packed import packing_of
from headrace.stores.packed_form import WORD
from tests.features.streaming import group as activity
from tests.features.streaming import settled
from tests.stores.small import CARDS, declared

WIDE = WindowedGroup("wide", 1, "s", "k", "t", "v", ("count", "mean"), (Window("1h", 3_600_000, tile_ms=30_000),))
EVERY = activity(Window("1m", 60_000, tile_ms=5_000), Window("1h", 3_600_000, delay_ms=3_600_000))
COUNTS = activity(Window("1h", 3_600_000, tile_ms=60_000), stats=("count",), last=())
SKETCHED = activity(Window("1h", 3_600_000), stats=("sum", "distinct", "p50"))
PLAIN = [CARDS, WIDE, declared("bare", tiles=3), EVERY, COUNTS]
NOW = 10**12


def filled(group: WindowedGroup, shares: list[float], seed: int, laps: float = 0, lone: float = 0) -> np.ndarray:
    """Return records with about these shares of their slots filled, from tiles of up to so many laps before NOW.

    A share of the tiles, `lone`, are of one event.
    """
    chance = np.random.default_rng(seed)
    records = group.empty(len(shares))
    records["newest_ms"] = NOW + chance.integers(0, 60_000, len(shares))
    mask = chance.random((len(shares), group.plan.total)) < np.array(shares)[:, None]
    starts, sizes, tile_ms = (
        each[group.plan.window] for each in (group.plan.starts, group.plan.sizes, group.plan.tile_ms)
    )
    back = (chance.random(mask.shape) * laps * sizes).astype(np.int64)
    tile = NOW // tile_ms - back
    tile -= (tile - np.arange(group.plan.total) + starts) % sizes  # a tile has its slot
    records["tile"][mask] = tile[mask]
    for name in group.fields:
        records[name][mask] = chance.integers(2, 9_000, mask.sum()) / 8
    alone = mask & (chance.random(mask.shape) < lone)
    value = chance.normal(size=mask.shape)
    told = {"count": 1.0, "m2": 0.0, "last_ms": NOW} | dict.fromkeys(("sum", "min", "max", "last"), value[alone])
    for name in group.fields:
        records[name][alone] = told[name]
    return records


def folded(group: WindowedGroup, keys: int, events: int, seed: int) -> np.ndarray:
    """Return records of events at any time in the two hours before NOW."""
    chance = np.random.default_rng(seed)
    records = group.empty(keys)
    columns = {
        group.time: np.sort(NOW - chance.integers(0, 7_200_000, events)),
        group.value: chance.choice([-0.0, 0.0, 1.5, np.nan, 1e9, 3.25], events),
        "place": chance.random(events),
    }
    fold(group, records, chance.integers(0, keys, events), columns)
    return records


def first_form(group: WindowedGroup, record: np.ndarray) -> bytes:
    """Return how one record was packed at first: the index and every field of each slot that is filled."""
    at = np.flatnonzero(record["tile"][0] != NO_TILE)
    bits = np.zeros(-(-group.plan.total // 64) * 64, np.uint8)
    bits[at] = 1
    row = (record["layout"] ^ np.uint64(0x9E3779B97F4A7C15)).tobytes() + np.packbits(bits, bitorder="little").tobytes()
    outside = [name for name in record.dtype.names if name not in ("layout", "tile", *group.fields)]
    row += b"".join(record[name].tobytes() for name in outside)
    return row + b"".join(record[name][0, slot].tobytes() for slot in at for name in ("tile", *group.fields))


@given(
    group=st.sampled_from(PLAIN),
    shares=st.lists(st.sampled_from([0, 0.02, 0.2, 0.5, 1]), max_size=40),
    seed=st.integers(0, 99),
    laps=st.sampled_from([0, 0.9, 3]),
    lone=st.sampled_from([0, 0.5, 1]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_read_is_what_was_written_but_for_tiles_that_are_over(group, shares, seed, laps, lone):
    packing = packing_of(group)
    records = filled(group, shares, seed, laps, lone)
    rows = packing.encode(records)
    whole = np.array([len(row) == group.layout.size for row in rows], bool)
    assert packing.decode(rows).tobytes() == np.where(whole, records, settled(group, records)).tobytes()
    one_by_one = [packing.encode(records[at : at + 1])[0] for at in range(len(records))]
    assert list(map(bytes, one_by_one)) == list(map(bytes, rows))  # the same bytes, however many at once


@given(
    group=st.sampled_from([*PLAIN, SKETCHED]),
    keys=st.sampled_from([1, 5, 40]),
    events=st.integers(0, 200),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_what_events_made_is_read_as_it_was_written_whole_packed_or_in_the_first_form(group, keys, events, seed):
    packing, records = packing_of(group), folded(group, keys, events, seed)
    held, as_of = settled(group, records), np.random.default_rng(seed).integers(NOW - 3_600_000, NOW + 3_600_000, keys)
    wanted = merge(group, held, as_of), *seen(group, held, as_of)
    rows, before = packing.encode(records), [first_form(group, records[at : at + 1]) for at in range(keys)]
    mixed = [row if at % 2 else old for at, (row, old) in enumerate(zip(rows, before, strict=True))]
    assert settled(group, packing.decode(rows)).tobytes() == held.tobytes()
    assert settled(group, packing.decode(before)).tobytes() == held.tobytes()
    for written in (rows, before, mixed):
        for found, each in zip(packing.read(written, as_of), wanted, strict=True):
            np.testing.assert_array_equal(found, each)


def test_a_lone_event_takes_a_word_and_where_the_last_is_kept_two():
    for group, words in ((WIDE, 1), (EVERY, 2), (COUNTS, 0)):
        one, many = (filled(group, [0.2], 3, laps=0.9, lone=lone) for lone in (1, 0))
        step = len(group.fields)
        tiles = np.count_nonzero(settled(group, one)["tile"] != NO_TILE)
        alone, apart = (len(packing_of(group).encode(records)[0]) for records in (one, many))
        assert apart - alone == WORD * tiles * (step - (words or step))


def test_a_record_with_few_slots_filled_takes_little_room_and_a_full_one_its_width():
    packing = packing_of(WIDE)
    few, full = packing.encode(filled(WIDE, [0.02, 1], 3, laps=0.9))
    assert len(few) * 10 <= WIDE.layout.size
    assert len(full) == WIDE.layout.size


def test_a_full_record_most_of_whose_tiles_are_over_takes_little_room():
    record = filled(WIDE, [1], 3, laps=9)
    (row,) = packing_of(WIDE).encode(record)
    left = np.count_nonzero(settled(WIDE, record)["tile"] != NO_TILE)
    assert left < WIDE.plan.total // 5
    # Which, two bitmaps, the newest tile, newest_ms; of a slot count and sum.
    assert len(row) == WORD * (1 + 2 * 2 + 1 + 1 + left * 2)


@pytest.mark.parametrize("many", [1, 40])
def test_a_row_that_is_not_of_the_layout_is_blank(many):
    packing, other = packing_of(WIDE), packing_of(CARDS)
    good = bytes(packing.encode(filled(WIDE, [0.02], 3))[0])
    foreign = bytes(other.encode(filled(CARDS, [0], 3))[0])
    torn = [b"", b"x", good[:-WORD], good + bytes(WORD), foreign, bytes(len(good)), good[: 2 * WORD]]
    read = packing.decode(torn * many)
    assert (read["newest_ms"] == WIDE.empty(1)["newest_ms"]).all()
    assert (read["tile"] == NO_TILE).all()
    mixed = packing.decode([good, b""] * many)
    assert (mixed["newest_ms"][::2] != mixed["newest_ms"][1::2]).all()


def test_a_record_of_another_layout_is_stored_as_it_is():
    records = filled(WIDE, [0.02] * 20, 3)
    records["layout"] = 7
    packing = packing_of(WIDE)
    for count in (1, 20):
        assert b"".join(packing.encode(records[:count])) == records[:count].tobytes()


@given(
    group=st.sampled_from(PLAIN),
    shares=st.lists(st.sampled_from([0, 0.02, 0.2, 0.5, 1]), min_size=1, max_size=30),
    spoiled=st.lists(
        st.sampled_from(["", "", "empty", "first", "torn", "odd", "zeros", "other", "bits", "twice"]),
        min_size=30,
        max_size=30,
    ),
    seed=st.integers(0, 99),
    laps=st.sampled_from([0, 0.9, 3]),
    lone=st.sampled_from([0, 0.5]),
)
@settings(max_examples=150, deadline=None)
def test_rows_that_are_read_at_once_give_what_their_records_give(group, shares, spoiled, seed, laps, lone):
    packing, chance = packing_of(group), np.random.default_rng(seed)
    records = filled(group, shares, seed, laps, lone)
    records["layout"][[how == "other" for how in spoiled[: len(shares)]]] = 7
    spoils = {
        "empty": b"",
        "first": lambda row: first_form(group, records[:1]),
        "torn": lambda row: row[:-WORD],
        "odd": lambda row: row + b"x",
        "zeros": bytes,
        "bits": lambda row: row[:WORD] + chance.bytes(2 * WORD) + row[3 * WORD :],  # any slots, any of them alone
        "twice": lambda row: row + row,
    }
    rows = []
    for row, how in zip(map(bytes, packing.encode(records)), spoiled, strict=False):
        spoil = spoils.get(how, row)
        rows.append(spoil if isinstance(spoil, bytes) else bytes(len(row)) if spoil is bytes else spoil(row))
    as_of = NOW + chance.integers(-5_000_000, 5_000_000, len(rows))  # before the newest event, too
    values, *known = packing.read(rows, as_of)
    held = packing.decode(rows)
    np.testing.assert_array_equal(values, merge(group, held, as_of))
    for found, wanted in zip(known, seen(group, held, as_of), strict=True):
        np.testing.assert_array_equal(found, wanted)
    sound = [at for at, how in enumerate(spoiled[: len(rows)]) if not how]
    np.testing.assert_array_equal(values[sound], merge(group, records, as_of)[sound])  # whatever was left out


def test_rows_that_make_up_for_each_other_are_taken_for_nobodys():
    packing, as_of = packing_of(EVERY), np.full(4, NOW + 3_600_000)
    one, sound, other = map(bytes, packing.encode(filled(EVERY, [0.2, 0.2, 0.2], 3, laps=0.9)))
    _, found, _, _ = packing.read([one + one, sound, other[:WORD], other[WORD:]], as_of)
    assert found.tolist() == [False, True, False, False]


@pytest.mark.parametrize("spoil", [lambda row: row[:-WORD], lambda row: row + bytes(WORD), lambda row: row[:WORD]])
def test_a_torn_row_of_the_first_form_is_blank(spoil):
    packing, records = packing_of(EVERY), filled(EVERY, [0.2], 3, laps=0.9)
    assert packing.read([first_form(EVERY, records)], np.array([NOW]))[1].tolist() == [True]
    assert packing.read([spoil(first_form(EVERY, records))], np.array([NOW]))[1].tolist() == [False]


def test_a_ring_without_a_tile_takes_no_room():
    packing, records = packing_of(EVERY), folded(EVERY, 1, 0, 0)
    (row,) = packing.encode(records)
    outside = 1 + len(EVERY.last)
    assert len(row) == WORD * (1 + 2 + len(EVERY.windows) + outside)  # the mark, two bitmaps, the newest tiles


def test_a_lone_mark_means_nothing_where_none_is_told():
    packing, as_of = packing_of(COUNTS), np.array([NOW + 60_000])
    (row,) = packing.encode(filled(COUNTS, [0.2], 3, laps=0.9))
    marked = bytes(row[: 2 * WORD]) + bytes(row[WORD : 2 * WORD]) + bytes(row[3 * WORD :])
    np.testing.assert_array_equal(packing.read([marked], as_of)[0], packing.read([row], as_of)[0])


def test_an_absent_row_is_absent_at_any_instant():
    edge = np.iinfo(np.int64).min + CARDS.windows[0].length_ms + CARDS.windows[0].tile_ms
    assert packing_of(CARDS).read([b""], np.array([edge]))[1].tolist() == [False]

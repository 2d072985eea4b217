"""Records on disk: what is read is what was written, whole or packed, one or many at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import Window, WindowedGroup
from headrace.features.windows import NO_TILE, merge, seen
from headrace.stores.packed import WORD, packing_of
from tests.features.streaming import settled
from tests.stores.small import CARDS, declared

WIDE = WindowedGroup("wide", 1, "s", "k", "t", "v", ("count", "mean"), (Window("1h", 3_600_000, tile_ms=30_000),))
GROUPS = [CARDS, WIDE, declared("bare", tiles=3)]


NOW = 10**12


def filled(group: WindowedGroup, shares: list[float], seed: int, laps: float = 0) -> np.ndarray:
    """Return records with about these shares of their slots filled, from tiles of up to so many laps before NOW."""
    chance = np.random.default_rng(seed)
    records = group.empty(len(shares))
    records["newest_ms"] = NOW + chance.integers(0, 60_000, len(shares))
    mask = chance.random((len(shares), group.plan.total)) < np.array(shares)[:, None]
    sizes, tile_ms = (each[group.plan.window] for each in (group.plan.sizes, group.plan.tile_ms))
    back = (chance.random(mask.shape) * laps * sizes).astype(np.int64)
    records["tile"][mask] = (NOW // tile_ms - back)[mask]
    for name in group.fields:
        records[name][mask] = chance.normal(size=mask.sum())
    return records


@given(
    group=st.sampled_from(GROUPS),
    shares=st.lists(st.sampled_from([0, 0.02, 0.2, 0.5, 1]), max_size=40),
    seed=st.integers(0, 99),
    laps=st.sampled_from([0, 0.9, 3]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_what_was_written_but_for_tiles_that_are_over(group, shares, seed, laps):
    packing = packing_of(group)
    records = filled(group, shares, seed, laps)
    rows = packing.encode(records)
    whole = np.array([len(row) == group.layout.size for row in rows], bool)
    assert packing.decode(rows).tobytes() == np.where(whole, records, settled(group, records)).tobytes()
    one_by_one = [packing.encode(records[at : at + 1])[0] for at in range(len(records))]
    assert list(map(bytes, one_by_one)) == list(map(bytes, rows))  # the same bytes, however many at once


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
    assert len(row) == WORD * (1 + 2 + 1 + left * 3)  # which, the bitmap, newest_ms; of a slot tile, count and sum


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
    group=st.sampled_from(GROUPS),
    shares=st.lists(st.sampled_from([0, 0.02, 0.2, 0.5, 1]), min_size=1, max_size=30),
    spoiled=st.lists(st.sampled_from(["", "empty", "torn", "odd", "zeros", "other"]), min_size=30, max_size=30),
    seed=st.integers(0, 99),
    laps=st.sampled_from([0, 0.9, 3]),
)
@settings(max_examples=80, deadline=None)
def test_rows_that_are_read_at_once_give_what_their_records_give(group, shares, spoiled, seed, laps):
    packing, chance = packing_of(group), np.random.default_rng(seed)
    records = filled(group, shares, seed, laps)
    records["layout"][[how == "other" for how in spoiled[: len(shares)]]] = 7
    spoils = {"empty": b"", "torn": lambda row: row[:-WORD], "odd": lambda row: row + b"x", "zeros": bytes}
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

"""Records on disk: what is read is what was written, whole or packed, one or many at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import Window, WindowedGroup
from headrace.features.windows import NO_TILE, merge, seen
from headrace.stores.packed import WORD, packing_of
from tests.stores.small import CARDS, declared

WIDE = WindowedGroup("wide", 1, "s", "k", "t", "v", ("count", "mean"), (Window("1h", 3_600_000, tile_ms=30_000),))
GROUPS = [CARDS, WIDE, declared("bare", tiles=3)]


def filled(group: WindowedGroup, shares: list[float], seed: int) -> np.ndarray:
    """Return records with about these shares of their slots filled, with any bytes in them."""
    chance = np.random.default_rng(seed)
    records = group.empty(len(shares))
    records["newest_ms"] = chance.integers(0, 10**12, len(shares))
    mask = chance.random((len(shares), group.plan.total)) < np.array(shares)[:, None]
    records["tile"][mask] = chance.integers(0, 10**6, mask.sum())
    for name in group.fields:
        records[name][mask] = chance.normal(size=mask.sum())
    return records


@given(
    group=st.sampled_from(GROUPS),
    shares=st.lists(st.sampled_from([0, 0.02, 0.2, 0.5, 1]), max_size=40),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_what_was_written(group, shares, seed):
    packing = packing_of(group)
    records = filled(group, shares, seed)
    rows = packing.encode(records)
    assert packing.decode(rows).tobytes() == records.tobytes()
    one_by_one = [packing.encode(records[at : at + 1])[0] for at in range(len(records))]
    assert list(map(bytes, one_by_one)) == list(map(bytes, rows))  # the same bytes, however many at once


def test_a_record_with_few_slots_filled_takes_little_room_and_a_full_one_its_width():
    packing = packing_of(WIDE)
    few, full = packing.encode(filled(WIDE, [0.02, 1], 3))
    assert len(few) * 3 <= WIDE.layout.size
    assert len(full) == WIDE.layout.size


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
)
@settings(max_examples=80, deadline=None)
def test_rows_that_are_read_at_once_give_what_their_records_give(group, shares, spoiled, seed):
    packing, chance = packing_of(group), np.random.default_rng(seed)
    records = filled(group, shares, seed)
    records["tile"] //= 100  # so that some tiles are covered
    records["layout"][[how == "other" for how in spoiled[: len(shares)]]] = 7
    spoils = {"empty": b"", "torn": lambda row: row[:-WORD], "odd": lambda row: row + b"x", "zeros": bytes}
    rows = []
    for row, how in zip(map(bytes, packing.encode(records)), spoiled, strict=False):
        spoil = spoils.get(how, row)
        rows.append(spoil if isinstance(spoil, bytes) else bytes(len(row)) if spoil is bytes else spoil(row))
    as_of = chance.integers(0, 10**12, len(rows))
    values, *known = packing.read(rows, as_of)
    held = packing.decode(rows)
    np.testing.assert_array_equal(values, merge(group, held, as_of))
    for found, wanted in zip(known, seen(group, held, as_of), strict=True):
        np.testing.assert_array_equal(found, wanted)

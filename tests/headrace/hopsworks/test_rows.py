"""Records as rows of Hopsworks: what is read back is the record, and the readable columns are what `merge` gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applications.fraud.app import APP
from headrace.features.windows import fold, merge
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import rows_of
from headrace.stores.online import block_of
from headrace.stores.packed import packing_of
from tests.features.streaming import settled

DECLARED = Declared.of(APP)
GROUPS = st.sampled_from(DECLARED.groups)
DAY = 86_400_000


def folded(group, keys: int, events: int, seed: int) -> np.ndarray:
    """Return records of random events, each of at least one."""
    chance = np.random.default_rng(seed)
    records, row = group.empty(keys), np.concatenate([np.arange(keys), chance.integers(0, keys, events)])
    columns = {name: chance.normal(50, 9, row.size) for name in {group.value, *group.last}}
    columns[group.time] = 1_700_000_000_000 + np.sort(chance.integers(0, 40 * DAY, row.size))
    fold(group, records, row, columns)
    return records


def records_of(group, tiles):
    """Return the records of rows' tiles, as readers decode them."""
    return group.own(packing_of(group).decode([row or b"" for row in tiles]))


@given(of=GROUPS, keys=st.integers(1, 40), events=st.integers(0, 400), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_row_gives_back_what_counts_of_its_record_and_its_statistics_are_those_of_merge(of, keys, events, seed):
    group = of.of
    records = folded(group, keys, events, seed)
    rows = rows_of(of, np.arange(keys), records)
    assert list(rows) == [feature.name for feature in of.features]
    assert settled(group, records_of(group, rows["tiles"])).tobytes() == settled(group, records).tobytes()
    assert (rows[group.key] == np.arange(keys)).all()
    assert (rows[group.time] == records["newest_ms"]).all()
    values = merge(group, records, records["newest_ms"] + 1)
    for at, name in enumerate(group.column_names):
        np.testing.assert_array_equal(rows[name], values[:, at])


@pytest.mark.parametrize("of", DECLARED.groups, ids=lambda of: of.name)
@pytest.mark.parametrize("many", [1, 40])
def test_a_row_that_is_absent_or_foreign_is_an_empty_record_beside_those_that_are_there(of, many):
    group = of.of
    records = settled(group, folded(group, 1, 9, 3))
    good = bytes(packing_of(group).encode(records)[0])
    other = next(declared.of for declared in DECLARED.groups if declared is not of)
    foreign = bytes(packing_of(other).encode(folded(other, 1, 9, 3))[0])
    whole = bytes(group.layout.size)
    read = records_of(group, [None, good, b"", foreign, whole, b"torn"] * many)
    block = block_of(group, read, np.full(read.size, 1_710_000_000_000))
    assert block.found.tolist() == [False, True, False, False, False, False] * many
    assert read[1:2].tobytes() == records.tobytes()
    assert read[4:5].tobytes() == group.empty(1).tobytes()


def test_a_record_without_an_event_has_no_row():
    of = DECLARED.groups[0]
    records = folded(of.of, 2, 3, 1)
    records[1] = of.of.empty(1)[0]
    with pytest.raises(ValueError, match=r"1 records of group 'card_activity' hold no event, a row needs the time"):
        rows_of(of, np.arange(2), records)


def test_events_are_no_records():
    with pytest.raises(ValueError, match="'payments_fg' is of the events of 'payments', rows of records need"):
        rows_of(next(g for g in DECLARED.events if g.name == "payments_fg"), np.arange(0), np.zeros(0))

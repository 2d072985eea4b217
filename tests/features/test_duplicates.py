"""The memory of ids: the rule event by event, whatever the batches, runs, marks and collisions are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import duplicates
from headrace.features.columns import NO_TIME, Column
from headrace.features.duplicates import Memory, keys_of, remembered_since, repeats
from headrace.features.streams import Stream
from tests.oracles.naive_duplicates import duplicates as naive

HORIZON = 100
#: Each id and its time; heads are alike for every third id, so that only the second halves tell them apart.
EVENTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 600)), max_size=120)


def ids_of(numbers):
    """Return ids whose first halves collide: uint64 [n, 2]."""
    return np.array([(number % 3 << 61, number) for number in numbers], dtype=np.uint64).reshape(-1, 2)


def passed(memory, events):
    """Return which of a batch are duplicates, having remembered the others."""
    ids, at = ids_of([number for number, _ in events]), np.array([at for _, at in events], dtype=np.int64)
    newest = np.maximum(np.maximum.accumulate(at), memory.newest_ms)
    repeated = memory.repeated(ids, at, newest)
    memory.add(ids[~repeated], at[~repeated], int(newest[-1]))
    return repeated.tolist()


@given(EVENTS, st.integers(1, 70), st.sampled_from([0, 1, HORIZON, 10**6, 2**63 - 1]), st.sampled_from([2, 16, 10**6]))
def test_the_rule_does_not_depend_on_batches_or_on_how_ids_are_kept(events, size, horizon, recent):
    memory = Memory(horizon)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_RECENT", recent)
        found = []
        for start in range(0, len(events), size):
            found += passed(memory, events[start : start + size])
    assert found == naive(events, horizon)


def test_an_id_is_remembered_up_to_and_with_its_horizon():
    memory = Memory(HORIZON)
    assert passed(memory, [(1, 1_000)]) == [False]
    assert passed(memory, [(2, 1_000 + HORIZON), (1, 1_000)]) == [False, True]
    assert passed(memory, [(3, 1_001 + HORIZON), (1, 1_000)]) == [False, False]


def test_a_duplicate_does_not_refresh_the_memory():
    memory = Memory(HORIZON)
    assert passed(memory, [(1, 0), (1, 60), (1, 100), (1, 101), (1, 102)]) == [False, True, True, False, True]


def test_an_event_later_than_the_horizon_counts_each_time():
    memory = Memory(HORIZON)
    assert passed(memory, [(1, 1_000), (2, 800), (2, 800)]) == [False, False, False]
    assert passed(memory, [(2, 800)]) == [False]
    assert len(memory) == 1


def test_many_ids_are_found_again_and_forgotten_when_their_time_has_come():
    memory, count = Memory(50_000), 200_000
    ids = np.random.default_rng(7).integers(0, 2**63, (count, 2)).astype(np.uint64)
    at = np.arange(count)
    for start in range(0, count, 5_000):
        part = slice(start, start + 5_000)
        assert not memory.repeated(ids[part], at[part], at[part]).any()
        memory.add(ids[part], at[part], start + 4_999)
    again = memory.repeated(ids, at, np.full(count, count - 1))
    np.testing.assert_array_equal(again, at >= count - 1 - 50_000)
    assert len(memory) <= 2 * 50_000 + 5_000


def test_nothing_is_remembered_of_what_was_only_asked():
    memory = Memory(HORIZON)
    ids, at = ids_of([1, 1]), np.array([5, 5])
    for _ in range(2):
        assert memory.repeated(ids, at, at).tolist() == [False, True]
    assert (len(memory), memory.newest_ms) == (0, NO_TIME)


def test_times_before_1970_and_an_endless_horizon_are_times_like_others():
    assert remembered_since(-5, 2**63 - 1) < -(2**61)
    memory = Memory(2**63 - 1)
    assert passed(memory, [(1, -(2**40)), (2, 2**45), (1, -(2**40))]) == [False, False, True]


def test_events_that_repeat_one_of_a_former_batch_are_left_as_they_are():
    ids, at, repeated = ids_of([1, 1, 2]), np.array([0, 0, 0]), np.array([True, False, False])
    repeats(ids, at, at - HORIZON, repeated)
    assert repeated.tolist() == [True, False, False]
    assert len(set(keys_of(ids))) == 2


@pytest.mark.parametrize(
    "column", [Column("id", "int64", required=False), Column("id"), Column("id", "timestamp"), Column("id", "bool")]
)
def test_a_column_that_cannot_be_an_id_is_refused(column):
    with pytest.raises(ValueError, match=rf"'id' of {column.dtype}, needs text, or whole numbers that are required"):
        Stream("clicks", (column, Column("at", "timestamp")), time="at", id="id")


@pytest.mark.parametrize(
    "column", [Column("id", "int64"), Column("id", "string"), Column("id", "string", required=False)]
)
def test_text_and_required_whole_numbers_can_be_ids(column):
    assert Stream("clicks", (column, Column("at", "timestamp")), time="at", id="id").horizon_ms == 3_600_000


def test_an_id_that_is_no_column_and_a_negative_horizon_are_refused():
    columns = (Column("id", "string"), Column("at", "timestamp"))
    with pytest.raises(ValueError, match="has id column 'tid', needs one of id, at"):
        Stream("clicks", columns, time="at", id="tid")
    with pytest.raises(ValueError, match="has horizon -1 ms, needs one that is not negative"):
        Stream("clicks", columns, time="at", id="id", horizon_ms=-1)

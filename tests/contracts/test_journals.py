"""One contract for every store: counters and journals, which change with the tiles and offsets or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import WritableStore
from tests.stores.small import SOURCE

SMALL, LARGE = b"\x01", bytes(range(256)) * 12_000  # 3 MB


@pytest.fixture(params=["memory", "embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WritableStore]:
    """Every store there is, empty."""
    made: WritableStore = MemoryStore() if request.param == "memory" else EmbeddedStore(tmp_path / "s", durable=False)
    yield made
    made.close()


def entries(store: WritableStore, name: str, after: int = 0) -> list[tuple[int, bytes]]:
    """Return what a journal holds."""
    with store.transaction(SOURCE, {}) as change:
        return change.journal(name, after)


def test_counters_add_up_by_source(store):
    assert store.counts(SOURCE) == {}
    for more in ({"late": 2, "duplicate": 1}, {"late": 3}, {}):
        with store.transaction(SOURCE, {}) as change:
            change.count(more)
            change.count({"late": 1})
    with store.transaction("payments-2", {}) as change:
        change.count({"late": 2**40})
    assert store.counts(SOURCE) == {"late": 8, "duplicate": 1}
    assert store.counts("payments-2") == {"late": 2**40}
    assert store.offsets(SOURCE) == {}


@given(st.lists(st.lists(st.integers(-(2**47), 2**47), max_size=3), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_newest_instant_is_the_latest_of_all_that_were_reached(tmp_path_factory, batches):
    for store in (MemoryStore(), EmbeddedStore(tmp_path_factory.mktemp("s"), durable=False)):
        assert store.newest(SOURCE) is None
        for reached in batches:
            with store.transaction(SOURCE, {}) as change:
                for instant in reached:
                    change.reach(instant)
        with store.transaction(f"{SOURCE}-2", {}) as change:
            change.reach(2**48)
        assert store.newest(SOURCE) == max((at for reached in batches for at in reached), default=None)
        store.close()


def test_a_journal_gives_back_what_was_appended_in_order_of_its_numbers(store):
    with store.transaction(SOURCE, {}) as change:
        assert change.journal("seen", 0) == []
        assert [change.append("seen", entry) for entry in (SMALL, LARGE)] == [1, 2]
        assert change.journal("seen", 1) == [(2, LARGE)]
    with store.transaction(SOURCE, {}) as change:
        assert change.append("seen", b"third") == 3
        assert change.append("other", b"another journal") == 1
    assert entries(store, "seen") == [(1, SMALL), (2, LARGE), (3, b"third")]
    assert entries(store, "seen", after=2) == [(3, b"third")]
    assert entries(store, "seen", after=3) == entries(store, "seen", after=2**40) == entries(store, "see") == []
    assert entries(store, "other") == [(1, b"another journal")]


def test_a_number_is_never_given_out_again(store):
    with store.transaction(SOURCE, {}) as change:
        for entry in (b"a", b"b", b"c"):
            change.append("seen", entry)
    with store.transaction(SOURCE, {}) as change:
        change.forget("seen", [2, 3, 9])
        assert change.journal("seen", 0) == [(1, b"a")]
    with store.transaction(SOURCE, {}) as change:
        change.forget("seen", [1])
        assert change.append("seen", b"d") == 4
    assert entries(store, "seen") == [(4, b"d")]


def fail_after_all(store: WritableStore) -> None:
    """Count, append and forget, and then fail."""
    with store.transaction(SOURCE, {}) as change:
        change.count({"late": 1})
        change.append("seen", b"b")
        change.forget("seen", [1])
        raise ValueError("in the middle")


def test_a_change_that_fails_counts_and_appends_nothing(store):
    with store.transaction(SOURCE, {}) as change:
        change.append("seen", b"a")
        change.count({"late": 1})
    with pytest.raises(ValueError, match="in the middle"):
        fail_after_all(store)
    assert store.counts(SOURCE) == {"late": 1}
    with store.transaction(SOURCE, {}) as change:
        assert change.journal("seen", 0) == [(1, b"a")]
        assert change.append("seen", b"c") == 2  # no number was given out by what was thrown away


@pytest.mark.parametrize("name", ["", "a\0b", "å" * 600], ids=["empty", "zero byte", "long"])
def test_a_journal_may_have_any_name(store, name):
    with store.transaction(SOURCE, {}) as change:
        change.append(name, b"x")
        change.append(name + "\0", b"y")
    assert entries(store, name) == [(1, b"x")]


def test_journals_and_counters_are_there_after_the_store_is_opened_again(tmp_path):
    store = EmbeddedStore(tmp_path / "s")
    with store.transaction(SOURCE, {}) as change:
        change.append("seen", b"a")
        change.append("seen", b"b")
        change.count({"late": 7})
    with store.transaction(SOURCE, {}) as change:
        change.forget("seen", [2])
    store.flush()
    store.close()
    again = EmbeddedStore(tmp_path / "s")
    assert again.counts(SOURCE) == {"late": 7}
    with again.transaction(SOURCE, {}) as change:
        assert change.journal("seen", 0) == [(1, b"a")]
        assert change.append("seen", b"c") == 3
    again.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "forget", "fail"]), st.sampled_from(["a", "b"]), st.integers(1, 8)),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=30, deadline=None)
def test_both_stores_keep_the_same_journals(tmp_path_factory, steps):
    disk, memory = EmbeddedStore(tmp_path_factory.mktemp("s"), durable=False), MemoryStore()
    for store in (disk, memory):
        for step, name, number in steps:
            try:
                with store.transaction(SOURCE, {}) as change:
                    if step == "forget":
                        change.forget(name, [number])
                    else:
                        change.append(name, bytes([number]))
                    if step == "fail":
                        raise ValueError
            except ValueError:
                pass
    for name in ("a", "b"):
        for after in (0, 3):
            assert entries(disk, name, after) == entries(memory, name, after)
    disk.close()

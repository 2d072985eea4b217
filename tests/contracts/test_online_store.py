"""One contract for every store: what is read, what is missing, and what a transaction promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import (
    LayoutMismatch,
    Lookup,
    OffsetMismatch,
    WritableStore,
    blocks_of,
    declaration,
    encode_keys,
    mismatch,
)
from tests.stores.small import CARDS, COUNT, LAST, SHOPS, SOURCE, SUM, add, declared, keys_of, put, read

LEAST, MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@pytest.fixture(params=["memory", "embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WritableStore]:
    """Every store there is, empty."""
    made: WritableStore = MemoryStore() if request.param == "memory" else EmbeddedStore(tmp_path / "s", durable=False)
    yield made
    made.close()


def test_one_read_answers_every_group_in_the_order_asked_for(store):
    put(store, [(1, 1_000, 5.0), (2, 2_000, 7.0)], CARDS)
    put(store, [(9, 3_000, 11.0)], SHOPS)
    lookups = [Lookup(SHOPS, keys_of([9, 1])), Lookup(CARDS, keys_of([2, 1]))]
    shops, cards = asyncio.run(store.read(lookups, np.array([10_000, 20_000])))
    assert shops.values[0, SUM] == 11
    assert shops.found.tolist() == [True, False]
    assert cards.values[:, SUM].tolist() == [7, 5]
    assert cards.values[:, LAST].tolist() == [7, 5]
    assert cards.age_ms.tolist() == [8_000, 19_000]


def test_its_rows_come_to_what_it_reads(store):
    put(store, [(1, 1_000, 5.0), (2, 2_000, 7.0)], CARDS)
    lookups, as_of = [Lookup(CARDS, keys_of([2, 1, 3, 2])), Lookup(SHOPS, keys_of([1, 2, 3, 4]))], np.full(4, 10_000)
    packed = asyncio.run(store.read_packed(lookups))
    assert [bool(row) for row in packed[0]] == [True, True, False, True]
    assert packed[1] == [b""] * 4
    for block, wanted in zip(blocks_of(lookups, packed, as_of), asyncio.run(store.read(lookups, as_of)), strict=True):
        np.testing.assert_array_equal(block.values, wanted.values)
        np.testing.assert_array_equal(block.found, wanted.found)
        np.testing.assert_array_equal(block.age_ms, wanted.age_ms)


def test_a_key_never_seen_is_missing_and_has_no_age(store):
    put(store, [(1, 1_000, 5.0)])
    block = read(store, [1, 2], 5_000)
    assert block.found.tolist() == [True, False]
    assert block.age_ms[0] == 4_000
    assert np.isnan(block.age_ms[1])
    assert block.values[1, COUNT] == 0
    assert np.isnan(block.values[1, LAST])
    assert block.exact.tolist() == [True, True]


@given(newest=st.integers(0, 10**13), as_of=st.integers(0, 10**13))
@settings(max_examples=20)
def test_an_age_is_never_negative_and_a_read_of_the_past_is_marked(newest, as_of):
    held = MemoryStore()
    put(held, [(1, newest, 5.0)])
    block = read(held, [1], as_of)
    assert block.age_ms[0] == max(0, as_of - newest)
    assert block.exact[0] == (as_of > newest)


@pytest.mark.parametrize(
    "keys",
    [
        [0, -1, 1, LEAST, MOST, LEAST + 1, MOST - 1, 256, -256],
        ["", "0", "a", "A", "ö", "漢字", " a", "a ", "\0", "k" * 510, "k" * 511, "k" * 512, "k" * 5_000, "k" * 5_001],
    ],
    ids=["whole numbers", "text"],
)
def test_every_key_is_one_of_its_own(store, keys):
    assert not read(store, keys, 10_000).found.any()
    put(store, [(key, 1_000, at + 1.0) for at, key in enumerate(keys)])
    block = read(store, keys[::-1], 10_000)
    assert block.found.all()
    assert block.values[::-1, SUM].tolist() == [at + 1.0 for at in range(len(keys))]


@given(st.lists(st.integers(LEAST, MOST), unique=True, max_size=30) | st.lists(st.text(max_size=9), unique=True))
def test_keys_are_written_in_their_order_and_never_alike(keys):
    written = encode_keys(keys_of(keys))
    assert len(set(written)) == len(keys)
    assert [keys[at] for at in np.argsort(np.array(written, dtype=object))] == sorted(keys)
    assert all(0 < len(key) <= 511 for key in written)


def test_a_key_asked_for_twice_is_answered_twice(store):
    put(store, [(1, 1_000, 5.0)])
    block = read(store, [1, 2, 1, 1], 5_000)
    assert block.found.tolist() == [True, False, True, True]
    assert block.values[[0, 2, 3], SUM].tolist() == [5, 5, 5]


def test_each_row_is_read_at_its_own_instant(store):
    put(store, [(1, 1_000, 5.0), (1, 90_000, 7.0)])
    as_of = np.array([91_000, 3_600_000, 9_000_000])
    block = asyncio.run(store.read([Lookup(CARDS, keys_of([1, 1, 1]))], as_of))[0]
    assert block.values[:, COUNT].tolist() == [2, 2, 0]
    assert block.values[:, 0].tolist() == [1, 0, 0]  # the minute


def test_five_hundred_keys_are_read_at_once(store):
    put(store, [(key, 1_000 + key, float(key)) for key in range(0, 1000, 2)])
    keys = list(range(500))
    block = read(store, keys, 5_000)
    assert block.found.tolist() == [key % 2 == 0 for key in keys]
    assert block.values[block.found, SUM].tolist() == list(range(0, 500, 2))


def test_no_keys_are_answered_by_no_rows(store):
    put(store, [(1, 1_000, 5.0)])
    for group in (CARDS, SHOPS):
        block = read(store, [], 5_000, group)
        assert block.values.shape == (0, len(group.column_names))
        assert block.found.size == block.age_ms.size == block.exact.size == 0


def test_an_empty_store_knows_no_key_and_stands_at_its_beginning(store):
    block = read(store, [1, 2], 5_000)
    assert not block.found.any()
    assert np.isnan(block.age_ms).all()
    assert store.offsets(SOURCE) == {}


@pytest.mark.parametrize("other", [declared(version=2), declared(tiles=6)], ids=["as wide", "narrower"])
def test_a_record_of_another_layout_is_missing_and_is_begun_anew(store, other):
    put(store, [(1, 1_000, 5.0), (2, 1_000, 6.0)])
    with store.transaction(SOURCE, {}) as change:
        add(change, other, [(1, 2_000, 9.0)])
    block = read(store, [1, 2], 5_000)
    assert block.found.tolist() == [False, True]
    assert np.isnan(block.age_ms[0])
    assert block.values[:, COUNT].tolist() == [0, 1]
    put(store, [(1, 3_000, 1.0)])
    assert read(store, [1], 5_000).values[0, SUM] == 1


def test_a_record_cut_short_is_missing(store):
    put(store, [(1, 1_000, 5.0), (2, 1_000, 6.0)])
    narrower = declared(tiles=6)
    with store.transaction(SOURCE, {}) as change:
        whole = change.records(CARDS, keys_of([1])).tobytes()
        change.write(narrower, keys_of([1]), narrower.layout.read(whole[: narrower.layout.size]))
    block = read(store, [2, 1], 5_000)
    assert block.found.tolist() == [True, False]
    assert block.values[:, SUM].tolist() == [6, 0]


def test_a_change_sees_what_it_wrote_itself(store):
    store.declare([CARDS])
    with store.transaction(SOURCE, {}) as change:
        add(change, CARDS, [(1, 1_000, 5.0)])
        add(change, CARDS, [(1, 2_000, 6.0)])
        assert not read(store, [1], 5_000).found.any() or isinstance(store, MemoryStore)
    assert read(store, [1], 5_000).values[0, SUM] == 11


def fail_in_the_middle(store: WritableStore) -> None:
    """Write, advance, and then fail."""
    with store.transaction(SOURCE, {"0": 1}) as change:
        add(change, CARDS, [(1, 2_000, 6.0), (2, 2_000, 6.0)])
        change.advance({"0": 3})
        raise ValueError("in the middle")


def test_a_change_that_fails_leaves_nothing_behind(store):
    put(store, [(1, 1_000, 5.0)])
    with pytest.raises(ValueError, match="in the middle"):
        fail_in_the_middle(store)
    block = read(store, [1, 2], 5_000)
    assert block.values[:, SUM].tolist() == [5, 0]
    assert block.found.tolist() == [True, False]
    assert store.offsets(SOURCE) == {"0": 1}


def test_a_change_that_began_elsewhere_is_refused_and_told_where_the_store_stands(store):
    put(store, [(1, 1_000, 5.0)])
    with (
        pytest.raises(
            OffsetMismatch, match=r"the store stands at \{'0': 1, '1': 0\}, the batch started elsewhere"
        ) as no,
        store.transaction(SOURCE, {"0": 0, "1": 0}) as change,
    ):
        add(change, CARDS, [(1, 2_000, 6.0)])
    assert no.value.stored == {"0": 1, "1": 0}
    assert store.offsets(SOURCE) == {"0": 1}
    assert read(store, [1], 5_000).values[0, SUM] == 5


def test_every_source_and_partition_stands_for_itself(store):
    store.declare([CARDS])
    with store.transaction("payments", {"0": 0, "1": 0}) as change:
        change.advance({"0": 7, "1": 2**40})
    with store.transaction("payments-2", {"0": 0}) as change:
        change.advance({"0": 3})
    with store.transaction("payments", {"1": 2**40}) as change:
        change.advance({"1": 2**40 + 1})
    assert store.offsets("payments") == {"0": 7, "1": 2**40 + 1}
    assert store.offsets("payments-2") == {"0": 3}
    assert store.offsets("pay") == {}


def test_another_declaration_is_refused_by_name_layouts_and_what_differs(store):
    put(store, [(1, 1_000, 5.0)])
    other = declared(version=2)
    with pytest.raises(LayoutMismatch) as refused:
        store.declare([SHOPS, other])
    said = str(refused.value)
    assert "'cards'" in said
    assert "version is 1 in the store and 2 here" in said
    assert f"layout {CARDS.layout.fingerprint:016x} there, {other.layout.fingerprint:016x} here" in said
    assert "give the group a new name or use another store" in said
    store.declare([CARDS])
    assert read(store, [1], 5_000).found.all()


def test_a_window_that_differs_is_named(store):
    store.declare([CARDS])
    with pytest.raises(
        LayoutMismatch, match=r"windows is \[\['1m', 60000, 0, 5000\].* and \[\['1m', 60000, 0, 10000\]"
    ):
        store.declare([declared(tiles=6)])


def test_a_store_is_ready_when_every_group_holds_a_key_under_its_declaration(store):
    assert "holds no key of group 'cards': run its pipeline first" in store.readiness([CARDS])
    put(store, [(1, 1_000, 5.0)])
    assert store.readiness([CARDS]) is None
    assert store.readiness([]) is None
    assert "holds no key of group 'shops'" in store.readiness([CARDS, SHOPS])
    assert "under another declaration (version is 1 in the store and 2 here)" in store.readiness([declared(version=2)])


def test_a_declared_group_without_a_key_is_not_ready(store):
    store.declare([CARDS])
    assert "holds no key of group 'cards'" in store.readiness([CARDS])


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 200_000), st.integers(0, 9).map(float)), min_size=1),
        max_size=5,
    ),
    as_of=st.integers(0, 300_000),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_stores_answer_alike(tmp_path_factory, batches, as_of):
    disk, memory = EmbeddedStore(tmp_path_factory.mktemp("s"), durable=False), MemoryStore()
    for batch in batches:
        put(disk, batch)
        put(memory, batch)
    ours, theirs = read(disk, range(-3, 4), as_of), read(memory, range(-3, 4), as_of)
    disk.close()
    for name in ("values", "found", "age_ms", "exact"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_records_laid_out_otherwise_are_another_declaration_too():
    held = {**declaration(CARDS), "layout": "0" * 16}
    assert "(its records are laid out otherwise): layout 0000000000000000 there" in mismatch(CARDS, held)
    assert mismatch(CARDS, declaration(CARDS)) == ""

"""Duplicates in a store: the same ones are found whatever is killed, thrown away, taken in turns or begun again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines import duplicates
from feature_pipelines.duplicates import Duplicates, counted_once, ids_of
from headrace.features.columns import Column
from headrace.features.streams import Stream
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import StoreGrew, WritableStore
from tests.oracles.naive_duplicates import duplicates as naive

HORIZON = 100
TEXT = Stream(
    "clicks", (Column("id", "string", required=False), Column("at", "timestamp")), "at", id="id", horizon_ms=HORIZON
)
NUMBERS = replace(TEXT, columns=(Column("id", "int64"), Column("at", "timestamp")))
Given = tuple[Any, int]  # an id and a time


@pytest.fixture(params=["memory", "embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WritableStore]:
    """Every store there is, empty."""
    made: WritableStore = MemoryStore() if request.param == "memory" else EmbeddedStore(tmp_path / "s", durable=False)
    yield made
    made.close()


def columns(events: list[Given], stream: Stream = TEXT) -> dict[str, np.ndarray]:
    """Return events as decoding does."""
    kind = object if stream.column("id").dtype == "string" else np.int64
    ids = np.empty(len(events), dtype=kind)
    ids[:] = [name for name, _ in events]
    return {"id": ids, "at": np.array([at for _, at in events], dtype=np.int64)}


def passed(store: WritableStore, found: Duplicates, events: list[Given], fails: Exception | None = None) -> list[bool]:
    """Commit a batch, unless it fails, and return which of its events are duplicates."""
    with store.transaction(found.stream.name, {}) as change:
        mask = found.begin(change, columns(events, found.stream))
        if fails:
            raise fails
    found.committed()
    return mask.tolist()


def thrown_away(store: WritableStore, found: Duplicates, events: list[Given]) -> None:
    """Run a batch whose transaction fails at its end."""
    with pytest.raises(ZeroDivisionError):
        passed(store, found, events, ZeroDivisionError())


def journal(store: WritableStore, found: Duplicates) -> list[tuple[int, bytes]]:
    """Return the entries of a stream's journal."""
    with store.transaction(found.stream.name, {}) as change:
        return change.journal(found._journal, 0)


def test_an_id_counts_once_within_a_batch_across_batches_and_across_restarts(store):
    found = Duplicates(TEXT)
    assert passed(store, found, [("a", 10), ("b", 11), ("a", 12)]) == [False, False, True]
    assert passed(store, found, [("b", 13), ("c", 14)]) == [True, False]
    again = Duplicates(TEXT)
    assert passed(store, again, [("a", 110), ("c", 111), ("a", 112)]) == [True, True, False]
    assert store.counts("clicks") == {"duplicate": 4}


def test_events_without_an_id_all_count_and_move_the_time_on(store):
    found = Duplicates(TEXT)
    assert passed(store, found, [(None, 10), (None, 10), ("a", 10), ("a", 10)]) == [False, False, False, True]
    assert passed(store, found, [(None, 111)]) == [False]
    assert passed(store, Duplicates(TEXT), [("a", 10)]) == [False]


def test_a_batch_that_was_thrown_away_is_not_remembered(store):
    found = Duplicates(TEXT)
    passed(store, found, [("a", 10)])
    thrown_away(store, found, [("b", 500)])
    assert passed(store, found, [("b", 20), ("a", 20), ("b", 21)]) == [False, True, True]
    assert store.counts("clicks") == {"duplicate": 2}


def test_what_a_thrown_away_batch_would_have_forgotten_is_still_remembered(store, monkeypatch):
    monkeypatch.setattr(duplicates, "_SMALL", 2)  # every entry of two ids is one to be removed as a whole
    found = Duplicates(TEXT)
    passed(store, found, [("a", 10), ("b", 10)])
    thrown_away(store, found, [("c", 500), ("d", 500)])
    passed(store, found, [("c", 20), ("d", 20)])
    assert passed(store, Duplicates(TEXT), [("a", 20), ("b", 20)]) == [True, True]
    passed(store, found, [("e", 500), ("f", 500)])
    assert len(journal(store, found)) == 1


def test_a_batch_is_run_again_where_the_store_had_to_grow(store):
    found = Duplicates(TEXT)
    with pytest.raises(StoreGrew):
        passed(store, found, [("a", 10), ("a", 10)], StoreGrew(1 << 30))
    assert passed(store, found, [("a", 10), ("a", 10)]) == [False, True]


def test_a_commit_that_nobody_was_told_of_counts(store):
    found = Duplicates(TEXT)
    with store.transaction("clicks", {}) as change:
        found.begin(change, columns([("a", 10)]))
    assert passed(store, found, [("a", 11)]) == [True]


def test_processes_that_write_in_turns_know_each_others_ids(store):
    one, two = Duplicates(TEXT), Duplicates(TEXT)
    assert passed(store, one, [("a", 10)]) == [False]
    assert passed(store, two, [("a", 10), ("b", 10)]) == [True, False]
    assert passed(store, one, [("b", 10), ("c", 120)]) == [True, False]
    assert passed(store, two, [("a", 10), ("c", 120)]) == [False, True]


def test_each_stream_has_ids_of_its_own(store):
    labels = replace(TEXT, name="labels")
    assert passed(store, Duplicates(TEXT), [("a", 10)]) == [False]
    assert passed(store, Duplicates(labels), [("a", 10)]) == [False]
    assert store.counts("labels") == {}


def test_a_stream_without_an_id_writes_nothing(store):
    found = Duplicates(replace(TEXT, id=""))
    assert passed(store, found, [("a", 10), ("a", 10)]) == [False, False]
    assert journal(store, found) == []
    assert passed(store, Duplicates(TEXT), []) == []


def test_many_small_entries_become_one_and_old_ones_are_removed(monkeypatch):
    monkeypatch.setattr(duplicates, "_SMALL", 50)
    store = MemoryStore()
    one, two = Duplicates(replace(TEXT, horizon_ms=300)), Duplicates(replace(TEXT, horizon_ms=300))
    for at in range(2_000):
        assert passed(store, (one, two)[at % 2], [(f"{at}", at)]) == [False]
    entries = journal(store, one)
    assert len(entries) <= 50 + 300 // 50 + 2
    assert sum(len(entry) for _, entry in entries) < 24 * (300 + 2 * 50 + 50) + 24 * len(entries)
    last = [(f"{at}", at) for at in range(1_600, 2_000)]
    assert passed(store, Duplicates(one.stream), last) == [at >= 1_699 for at in range(1_600, 2_000)]
    assert passed(store, one, last[100:]) == [True] * 300


SCHEDULES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.none() | st.integers(1, 9), st.integers(-60, 60)), max_size=12),
        st.integers(0, 2),  # which process
        st.sampled_from(["commit", "commit", "commit", "throw away", "untold", "restart"]),
    ),
    max_size=25,
)


@given(SCHEDULES, st.sampled_from([TEXT, NUMBERS]), st.sampled_from([0, 20, HORIZON]), st.sampled_from([1, 4, 1_000]))
def test_any_schedule_of_batches_processes_and_crashes_is_what_the_definition_says(steps, stream, horizon, small):
    stream, store = replace(stream, horizon_ms=horizon), MemoryStore()
    processes = [Duplicates(stream) for _ in range(3)]
    events: list[Given] = []
    found: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_SMALL", small)
        for at, (drawn, who, how) in enumerate(steps):
            number = stream.column("id").dtype == "int64"
            batch = [((n or 0) if number else n and f"å{n}", 20 * at + back) for n, back in drawn]
            if how == "throw away":
                thrown_away(store, processes[who], batch)
                continue
            if how == "restart":
                processes[who] = Duplicates(stream)
            with store.transaction(stream.name, {}) as change:
                found += processes[who].begin(change, columns(batch, stream)).tolist()
            if how != "untold":
                processes[who].committed()
            events += batch
    assert found == naive(events, horizon)
    assert store.counts(stream.name).get("duplicate", 0) == sum(found)


@given(st.lists(st.tuples(st.none() | st.sampled_from("abcdef"), st.integers(0, 400)), max_size=40))
def test_a_history_is_taken_in_order_of_time_and_given_back_in_its_own(events):
    in_time = sorted(range(len(events)), key=lambda at: events[at][1])
    repeated = dict(zip(in_time, naive((events[at] for at in in_time), HORIZON), strict=True))
    kept = [event for at, event in enumerate(events) if not repeated[at]]
    once = counted_once(TEXT, columns(events))
    assert list(zip(once["id"].tolist(), once["at"].tolist(), strict=True)) == kept


def test_ids_are_told_apart_by_all_their_bits():
    numbers, rows = ids_of(np.array([0, 1, -1, 2**62, -(2**63)], dtype=np.int64))
    assert rows is None
    texts, rows = ids_of(np.array(["a", None, "A", " a", "a ", "\ud800", "é", "e\u0301", "x" * 10_000], dtype=object))
    assert rows is not None
    assert rows.tolist() == [0, 2, 3, 4, 5, 6, 7, 8]
    for ids in (numbers, texts):
        assert len({tuple(row) for row in ids.tolist()}) == len(ids) == len(set(ids[:, 0].tolist()))


def test_a_text_always_has_the_same_id():
    ids, _ = ids_of(np.array(["tx-1", "å"], dtype=object))
    assert [f"{head:016x}" for head in ids[:, 0].tolist()] == ["b1ebec63fe254637", "9a4147880958404f"]

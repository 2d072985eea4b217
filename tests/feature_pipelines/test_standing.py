"""Where pipelines stand is what they did: read, refused and held, whichever process did it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applications.fraud.app import APP
from feature_pipelines.dead_letters import PARTITION, DeadLetter, DeadLetterFile
from feature_pipelines.handover import IN_HISTORY
from feature_pipelines.sinks import Sink
from feature_pipelines.standing import standing
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import StoreUnavailable

NOW = 1_700_000_000_000


def changed(folder: Path, stream: str = "payments", counts: dict | None = None, offsets: dict | None = None) -> Path:
    """Commit counts and offsets of a stream as a pipeline does."""
    with closing(EmbeddedStore(folder / "s", durable=False)) as store, store.transaction(stream, {}) as change:
        change.count(counts or {})
        change.advance(offsets or {})
    return folder / "s"


def test_a_partition_is_behind_by_what_the_broker_has_more(tmp_path):
    path = changed(tmp_path, offsets={"payments/10": 5, "payments/9": 7, "payments/2": 3, PARTITION: 12})
    with closing(EmbeddedStore(path, readonly=True)) as store:
        ends = {"payments": {"payments/9": 7, "payments/10": 9, "payments/11": 4, "payments/2": 1}}
        stream = standing(APP, store, NOW, ends).streams[0]
    assert [(part.partition, part.at, part.end, part.lag) for part in stream.partitions] == [
        ("payments/2", 3, 1, 0),
        ("payments/9", 7, 7, 0),
        ("payments/10", 5, 9, 4),
        ("payments/11", 0, 4, 4),
    ]


@given(st.dictionaries(st.sampled_from(["too late", "at is missing", "the event is not JSON"]), st.integers(1, 2**40)))
def test_counters_are_told_apart(tmp_path_factory, refused):
    told = {"events": 2**41, "duplicate": 7, IN_HISTORY: 3}
    path = changed(tmp_path_factory.mktemp("s"), counts={**told, **refused})
    with closing(EmbeddedStore(path, readonly=True)) as store:
        stream = standing(APP, store, NOW).streams[0]
    assert (stream.events, stream.duplicates, stream.in_history) == (2**41, 7, 3)
    assert stream.refused == refused


def test_dead_letters_are_where_they_went(tmp_path):
    offsets = {PARTITION: 12, f"{PARTITION}:kafka://host:1/refused": 3, f"{PARTITION}:/kept.jsonl": 0}
    path = changed(tmp_path, offsets=offsets)
    with closing(EmbeddedStore(path, readonly=True)) as store:
        letters = standing(APP, store, NOW).streams[0].dead_letters
    assert {(at.where, at.reach) for at in letters} == {
        (str(path / "dead_letters" / "payments.jsonl"), 12),
        ("kafka://host:1/refused", 3),
        ("/kept.jsonl", 0),
    }


def test_the_newest_event_is_that_of_all_batches_and_may_lie_ahead(tmp_path):
    path = changed(tmp_path)
    with closing(EmbeddedStore(path, durable=False)) as store:
        for reached in (NOW - 5_000, NOW - 9_000):
            with store.transaction("payments", {}) as change:
                change.reach(reached)
        payments, labels = standing(APP, store, NOW).streams
        assert (payments.newest_ms, payments.age_ms) == (NOW - 5_000, 5_000)
        assert (labels.newest_ms, labels.age_ms) == (None, None)
        assert standing(APP, store, NOW - 6_000).streams[0].age_ms == -1_000


def test_a_stream_that_an_engine_reads_stands_in_the_engines_state(tmp_path):
    letters = DeadLetterFile(tmp_path / "letters.jsonl")
    with closing(EmbeddedStore(tmp_path / "s", durable=False)) as store:
        sink = Sink(store, APP.stream("payments"), APP.groups_of("payments"), letters)
        sink.start("bytewax flow", ["payments/0", "payments/1"])
        sink.bury([DeadLetter("payments/1", 4, "at is missing", b"{}")])
        stream, labels = standing(APP, store, NOW, {"payments": {"payments/0": 7}}).streams
    assert (stream.engine, labels.engine) == ("bytewax flow", "")
    assert [(part.partition, part.at, part.end, part.lag) for part in stream.partitions] == [
        ("payments/0", None, 7, None),
        ("payments/1", None, None, None),
    ]
    [kept] = stream.dead_letters
    assert (kept.where, kept.reach) == (str(letters.path), letters.path.stat().st_size)


def test_without_a_store_nothing_stands_anywhere(tmp_path):
    with (
        closing(EmbeddedStore(tmp_path / "s", readonly=True)) as store,
        pytest.raises(StoreUnavailable, match=r"there is no store at '\S*/s': run a pipeline first"),
    ):
        standing(APP, store, NOW)

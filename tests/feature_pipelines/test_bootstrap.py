"""Bootstrap: a store filled from history and then streamed into holds what one stream of everything would."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipelines import bootstrap
from feature_pipelines.bootstrap import Filled, fill, final_records
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.files import SourceError
from feature_pipelines.handover import IN_HISTORY, Handover, handover
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.features.streams import Stream
from headrace.features.windows import Window, WindowedGroup, fold
from headrace.stores import history
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.small import GROUP, MINUTE, NOW, STREAM, Event, events_of, file_of, jsonl_of, parquet_of
from tests.features.streaming import settled

STATS = ("count", "sum", "mean", "std", "min", "max", "last")
WINDOWS = (Window("a", 120), Window("b", 100, tile_ms=30), Window("c", 60, delay_ms=45))
WIDE = WindowedGroup("wide", 1, "payments", "card", "at", "amount", STATS, WINDOWS, ("amount",))
HORIZON = 10 * MINUTE
KNOWN = replace(STREAM, id="note", horizon_ms=HORIZON)
CARDS = np.arange(6)


def piped(path: Path, store: MemoryStore, stream: Stream, letters: Path, order: str = "file") -> Pipeline:
    """Return a pipeline that streams a file in the order of arrival."""
    return Pipeline(
        stream, (GROUP,), FileSource(path, stream, order=order), store, DeadLetterFile(letters), lambda: NOW
    )


def held(store: MemoryStore, group: WindowedGroup = GROUP) -> np.ndarray:
    """Return the records of all cards, without tiles that are over."""
    with store.transaction("", {}) as change:
        return settled(group, change.records(group, CARDS))


def same(one: np.ndarray, other: np.ndarray) -> None:
    """Demand equal records, sums of squares up to rounding."""
    for name in one.dtype.names or ():
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, err_msg=name)


@st.composite
def sorted_events(draw):
    """Events of few keys sorted by key and time, with nulls and equal times, and where batches end."""
    rows = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(-500, 500), st.none() | st.integers(-50, 50))))
    rows.sort(key=lambda row: row[:2])
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=4)))
    columns = [np.array([row[at] for row in rows], dtype=kind) for at, kind in enumerate((int, int, float))]
    return dict(zip(("card", "at", "amount"), columns, strict=True)), [cut for cut in cuts if cut < len(rows)]


@given(sorted_events(), st.integers(1, 4))
def test_records_are_those_of_folding_every_event_in_order_of_time(given_events, keys_at_once):
    events, cuts = given_events
    batches = [{name: np.split(values, cuts)[at] for name, values in events.items()} for at in range(len(cuts) + 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_KEYS", keys_at_once)
        parts = list(final_records(WIDE, iter([batch for batch in batches if batch["card"].size])))
    keys = np.concatenate([keys for keys, _ in parts]) if parts else np.zeros(0)
    assert keys.tolist() == sorted(set(events["card"].tolist()))
    by_time = np.argsort(events["at"], kind="stable")
    wanted = WIDE.empty(CARDS.size)
    fold(WIDE, wanted, events["card"][by_time], {name: values[by_time] for name, values in events.items()})
    if parts:
        same(np.concatenate([records for _, records in parts]), wanted[keys])


def log_of(chance: random.Random, count: int, late_ms: int) -> list[Event]:
    """Return events in order of arrival, each up to `late_ms` behind the newest before it."""
    rows, newest = [], 0
    for number in range(count):
        newest += chance.randrange(2 * MINUTE)
        event = (chance.randrange(6), newest - chance.randrange(late_ms), float(chance.randrange(100)))
        rows.append(events_of(event)[0] | {"note": f"n{number}"})
    return rows


def both(folder: Path, stream: Stream, past: Sequence[Event], topic: Sequence[Event], whole: Sequence[Event]) -> Filled:
    """Fill from the past and stream the topic; demand what streaming the whole leaves."""
    one, other = MemoryStore(), MemoryStore()
    run = piped(parquet_of(folder / "t.parquet", topic), one, stream, folder / "one.jsonl")
    filled = fill(run, parquet_of(folder / "h.parquet", past), folder=folder)
    report = run.run(7)
    piped(parquet_of(folder / "w.parquet", whole), other, stream, folder / "other.jsonl").run(11)
    same(held(one), held(other))
    assert one.newest("payments") == other.newest("payments")
    counts = one.counts("payments")
    counted = [c["events"] - c.get("duplicate", 0) - c.get(IN_HISTORY, 0) for c in (counts, other.counts("payments"))]
    assert counted[0] == counted[1]
    assert report.events == len(topic)
    return filled


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 60), st.sampled_from([2, 10**9]))
@settings(max_examples=40)
def test_events_with_an_id_count_once_wherever_history_ends_and_the_topic_begins(tmp_path_factory, seed, a, b, memory):
    whole = log_of(random.Random(seed), 60, HORIZON)
    begin, end = min(a, b), max(a, b)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "IN_MEMORY", memory)
        both(tmp_path_factory.mktemp("b"), KNOWN, whole[:end], whole[begin:], whole)


@given(st.integers(0, 2**32), st.integers(0, 120), st.integers(0, 60))
@settings(max_examples=40)
def test_events_without_an_id_are_cut_by_time(tmp_path_factory, seed, until, begin):
    whole = log_of(random.Random(seed), 60, 10 * MINUTE)
    past = [event for event in whole if event["at"] < until * MINUTE]
    topic = [event for at, event in enumerate(whole) if at >= begin or event["at"] >= until * MINUTE]
    both(tmp_path_factory.mktemp("b"), STREAM, past, topic, whole)


def test_events_that_lack_their_id_are_cut_by_time_too(tmp_path):
    whole = log_of(random.Random(3), 60, 1)
    for event in whole[::3]:
        event["note"] = None
    both(tmp_path, KNOWN, whole[:40], whole[20:], whole)


@pytest.fixture
def rows() -> list[Event]:
    """Some events in order of time."""
    return log_of(random.Random(1), 40, 1)


def test_what_cannot_be_counted_is_a_dead_letter_and_counted_once(tmp_path, rows):
    past = file_of(tmp_path, "h.jsonl", jsonl_of(rows) + b"[1]\n" + jsonl_of([rows[0] | {"amount": -1}, rows[-1]]))
    store = MemoryStore()
    run = piped(file_of(tmp_path, "t.jsonl", jsonl_of(rows[-2:])), store, KNOWN, tmp_path / "letters.jsonl")
    filled = fill(run, past)
    assert (filled.events, filled.dead, filled.repeated, filled.keys) == (43, 2, 1, {"cards": 6})
    assert filled.notes[0].startswith("2 events of payments were not counted, the first because the ")
    assert filled.notes[1:] == ["1 events of payments were not counted, they repeat the note of another"]
    letters = DeadLetterFile(tmp_path / "letters.jsonl").read()
    assert [letter.partition for letter in letters] == ["payments:h.jsonl"] * 2
    assert [letter.offset for letter in letters] == [40, 41]
    run.run()
    assert (run.report.events, run.report.duplicates, run.report.in_history) == (2, 0, 2)
    assert DeadLetterFile(tmp_path / "letters.jsonl").read() == letters
    counts = store.counts("payments")
    assert counts.pop("events") == 45
    assert (counts.pop("duplicate"), counts.pop(IN_HISTORY)) == (1, 2)
    assert sum(counts.values()) == 2


def test_an_interrupted_bootstrap_is_begun_anew_and_nothing_is_streamed_before(tmp_path, rows):
    past = file_of(tmp_path, "h.jsonl", jsonl_of(rows) + b"[1]\n")
    topic = file_of(tmp_path, "t.jsonl", jsonl_of(rows[-5:]))
    store, whole = MemoryStore(), MemoryStore()

    def interrupt(doing: str, share: float) -> None:
        if doing == "fill cards":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(piped(topic, store, KNOWN, tmp_path / "l.jsonl"), past, progress=interrupt)
    with pytest.raises(ValueError, match="filled from the history of payments and is not complete: run `headrace"):
        piped(topic, store, KNOWN, tmp_path / "l.jsonl").start()
    other = file_of(tmp_path, "g.jsonl", jsonl_of(rows[1:]))
    with pytest.raises(ValueError, match="half filled from another history of payments, needs the same files, or a"):
        fill(piped(topic, store, KNOWN, tmp_path / "l.jsonl"), other)
    for store_filled in (store, whole):
        letters = tmp_path / ("l.jsonl" if store_filled is store else "w.jsonl")
        filled = fill(piped(topic, store_filled, KNOWN, letters), past)
        assert (filled.events, filled.dead, filled.was_there) == (41, 1, False)
    assert held(store).tobytes() == held(whole).tobytes()
    assert store.counts("payments") == whole.counts("payments")
    assert len(DeadLetterFile(tmp_path / "l.jsonl").read()) == 1


def test_a_complete_bootstrap_is_not_done_again(tmp_path, rows):
    past, topic = parquet_of(tmp_path / "h.parquet", rows), parquet_of(tmp_path / "t.parquet", rows[-5:])
    store = MemoryStore()
    run = piped(topic, store, KNOWN, tmp_path / "l.jsonl")
    fill(run, past)
    run.run()
    before = held(store)
    again = piped(topic, store, KNOWN, tmp_path / "l.jsonl")
    filled = fill(again, past)
    assert filled.was_there
    assert filled.until_ms == rows[-1]["at"] + 1
    assert again.run().events == 0
    assert held(store).tobytes() == before.tobytes()
    known = handover(store, KNOWN)
    assert known == Handover(known.history if known else "", True, rows[-1]["at"] + 1, rows[-1]["at"] - HORIZON)
    with pytest.raises(ValueError, match="the store was filled from another history of payments"):
        fill(again, topic)


def test_a_store_that_was_streamed_into_is_refused(tmp_path, rows):
    topic, store = parquet_of(tmp_path / "t.parquet", rows), MemoryStore()
    piped(topic, store, STREAM, tmp_path / "l.jsonl").run()
    with pytest.raises(ValueError, match=r"events of payments that were streamed \(t.parquet@.*needs a new store"):
        fill(piped(topic, store, STREAM, tmp_path / "l.jsonl"), topic)


def test_a_history_that_does_not_fit_says_what_it_lacks(tmp_path, rows):
    topic = parquet_of(tmp_path / "t.parquet", rows)
    run = piped(topic, MemoryStore(), STREAM, tmp_path / "l.jsonl")
    bare = file_of(tmp_path, "bare.jsonl", b'{"card": 1, "at": 5}\n')
    for path, columns, message in [
        (bare, None, "the history has no amount, needs every key and value of the groups"),
        (topic, ("part", "offset"), "the source has no partitions, needs a topic to start at offsets that files name"),
        (tmp_path / "no.parquet", None, r"there is no file '\S*/no.parquet'"),
    ]:
        with pytest.raises(SourceError, match=message):
            fill(run, path, offset_columns=columns)
    assert handover(run.store, STREAM) is None

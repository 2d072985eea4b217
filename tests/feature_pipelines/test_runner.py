"""A run ends where it should have, however it was cut up: nothing lost, nothing twice, nothing refused in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.files import SourceError
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.features.streams import Stream
from headrace.stores import environment
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import LayoutMismatch, StoreGrew
from tests.feature_pipelines.small import (
    GROUP,
    MINUTE,
    NOW,
    STREAM,
    contents,
    csv_of,
    events_of,
    file_of,
    jsonl_of,
    parquet_of,
    pipeline,
)
from tests.stores.small import declared

ROWS = events_of(*((n % 4, n * 1_000, float(n)) for n in range(20)))
BAD = [{**ROWS[3], "amount": -1}, {**ROWS[4], "card": None}]


@pytest.fixture
def path(tmp_path):
    """An event file with two events that are refused."""
    return file_of(tmp_path, "a.csv", csv_of([*ROWS[:7], BAD[0], *ROWS[7:], BAD[1]]))


def test_a_run_reports_what_it_did(path):
    told: list[int] = []
    run = pipeline(path, MemoryStore())
    report = run.run(5, told.append)
    assert (report.events, report.dead, report.skipped) == (22, 2, 0)
    assert told == [5, 5, 5, 5, 2]
    assert report.reasons == {"amount is not a number from 0 to inf": 1, "card is missing": 1}
    assert run.source.total == run.source.at == 22
    assert [(letter.partition, letter.offset) for letter in run.letters.read()] == [
        (run.source.partition, 4),  # type: ignore[attr-defined]
        (run.source.partition, 6),  # type: ignore[attr-defined]
    ]
    run.source.close()


def test_an_event_later_than_every_window_is_too_late_and_one_within_any_counts(tmp_path):
    hour = 60 * MINUTE
    rows = events_of((1, 10 * hour, 1.0), (1, 10 * hour - 59 * MINUTE, 2.0), (1, 535 * MINUTE, 4.0), (2, 0, 8.0))
    path = file_of(tmp_path, "a.jsonl", jsonl_of(rows))
    for batch in (1, 4):
        store = MemoryStore()
        run = pipeline(path, store, "file")
        assert run.run(batch).dead == 1
        (letter,) = run.letters.read()
        assert letter.reason == "too late, every window of payments has moved on"
        assert letter.event == jsonl_of(rows[2:3]).rstrip()
        assert letter.offset == 2
        assert contents(store, [1], 10 * hour + 1)[0, 4:6].tolist() == [2, 3]
    in_time = pipeline(path, MemoryStore())
    assert in_time.run(1).dead == 0


@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 9))
def test_a_run_goes_on_where_the_last_one_stopped(tmp_path_factory, stops, batch):
    folder = tmp_path_factory.mktemp("f")
    path = file_of(folder, "a.csv", csv_of([*ROWS, *BAD]))
    whole, cut = MemoryStore(), MemoryStore()
    pipeline(path, whole, letters=folder / "whole").run(100)
    for stop in stops:
        run = pipeline(path, cut, letters=folder / "cut")
        run.start()
        run.step(stop)
    report = pipeline(path, cut, letters=folder / "cut").run(batch)
    assert report.skipped == min(sum(stops), 22)
    assert report.events == 22 - report.skipped
    np.testing.assert_array_equal(contents(cut), contents(whole))
    assert (folder / "cut").read_bytes() == (folder / "whole").read_bytes()


def test_a_second_run_counts_nothing_again(path):
    store = MemoryStore()
    pipeline(path, store).run()
    before = contents(store)
    again = pipeline(path, store)
    report = again.run()
    assert (report.events, report.dead, report.skipped) == (0, 0, 22)
    assert len(again.letters.read()) == 2
    np.testing.assert_array_equal(contents(store), before)


def test_another_file_of_the_stream_is_counted_from_its_beginning(tmp_path):
    one, two = file_of(tmp_path, "a.csv", csv_of(ROWS[:10])), parquet_of(tmp_path / "b.parquet", ROWS[10:])
    store, whole = MemoryStore(), MemoryStore()
    assert pipeline(one, store).run().events == pipeline(two, store).run().events == 10
    pipeline(file_of(tmp_path, "c.csv", csv_of(ROWS)), whole).run(4)
    np.testing.assert_array_equal(contents(store), contents(whole))


def test_a_file_that_grew_is_refused_rather_than_counted_again(tmp_path):
    store = MemoryStore()
    pipeline(file_of(tmp_path, "a.csv", csv_of(ROWS[:10])), store).run()
    before = contents(store)
    grown = file_of(tmp_path, "a.csv", csv_of(ROWS[:11]))
    with pytest.raises(SourceError, match=r"'a\.csv' was streamed into this store with other contents"):
        pipeline(grown, store).run()
    np.testing.assert_array_equal(contents(store), before)


def test_a_file_that_was_begun_in_one_order_is_not_counted_again_in_the_other(path):
    store = MemoryStore()
    run = pipeline(path, store)
    run.start()
    run.step(3)
    with pytest.raises(SourceError, match=r"'a.csv' was begun in time order, needs to be continued so: .* twice"):
        pipeline(path, store, "file").run()
    assert pipeline(path, store).run().skipped == 3


def test_a_faster_process_is_followed(path, tmp_path):
    store, alone = MemoryStore(), MemoryStore()
    slow, fast = pipeline(path, store), pipeline(path, store)
    slow.start()
    assert slow.step(4) == 4
    fast.run(5)
    assert slow.step(4) == 0  # what it read next had been counted
    assert (slow.report.events, fast.report.events, fast.report.skipped) == (4, 18, 4)
    pipeline(path, alone, letters=tmp_path / "alone").run()
    np.testing.assert_array_equal(contents(store), contents(alone))
    assert (tmp_path / "alone").read_bytes() == fast.letters.path.read_bytes()


def test_a_store_rolled_back_is_followed_too(path):
    ahead, behind = MemoryStore(), MemoryStore()
    run = pipeline(path, behind)
    run.start()
    run.step(4)
    run.source.seek({run.source.partition: 9})  # type: ignore[attr-defined]
    assert run.step(4) == 4
    assert behind.offsets("payments")[run.source.partition] == 8  # type: ignore[attr-defined]
    run.run()
    pipeline(path, ahead).run()
    np.testing.assert_array_equal(contents(behind), contents(ahead))


class Crowded(MemoryStore):
    """A store that is full at the end of every other change."""

    turn = 0

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[Any]:
        """Fail once before each change that is kept; what only reads needs no room."""
        with super().transaction(source, start) as change:
            yield change
            self.turn += bool(change.written or change.offsets)
            if self.turn % 2 and change.offsets:
                raise StoreGrew(1 << 20)


def test_a_batch_is_run_again_when_the_store_grew(path, tmp_path):
    crowded, roomy = Crowded(), MemoryStore()
    one, other = pipeline(path, crowded, letters=tmp_path / "one"), pipeline(path, roomy, letters=tmp_path / "other")
    assert one.run(4) == other.run(4)
    assert crowded.turn == 12
    np.testing.assert_array_equal(contents(crowded), contents(roomy))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_store_on_disk_grows_under_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FIRST_MAP", 1 << 16)
    monkeypatch.setattr(environment, "HEADROOM", 0)
    rows = events_of(*((n, n, float(n)) for n in range(2_000)), (5, 3_000, -1.0))
    path = parquet_of(tmp_path / "a.parquet", rows)
    store = EmbeddedStore(tmp_path / "s", durable=False)
    report = pipeline(path, store).run(700)
    assert (report.events, report.dead) == (2_001, 1)
    assert store.size(GROUP) == 2_000
    assert contents(store, range(2_000), MINUTE)[:, 1].tolist() == list(range(2_000))
    store.close()


def test_a_store_of_another_declaration_is_refused_before_anything_is_read(path):
    store = MemoryStore()
    store.declare([declared()])
    with pytest.raises(LayoutMismatch, match="group 'cards' under another declaration"):
        pipeline(path, store).run()
    assert store.offsets("payments") == {}


def test_the_same_event_is_worth_the_same_at_any_later_clock(tmp_path):
    early = file_of(tmp_path, "a.csv", csv_of([{**ROWS[0], "at": NOW + STREAM.tolerance_ms + 1}]))
    letters = []
    for clock in (NOW, NOW - 5):
        run = pipeline(early, MemoryStore())
        run.clock = lambda clock=clock: clock  # type: ignore[misc]
        run.run()
        letters.append(run.letters.path.read_bytes())
    assert letters[0] == letters[1]
    run = pipeline(early, store := MemoryStore())
    run.clock = lambda: NOW + 1
    assert run.run().dead == 0
    assert store.offsets("payments")


def test_two_groups_of_a_stream_are_committed_together(tmp_path):
    notes = declared("notes", "note")
    stream = Stream("payments", STREAM.columns, time="at")
    path = file_of(tmp_path, "a.csv", csv_of(ROWS))
    store, source = MemoryStore(), FileSource(path, stream)
    run = Pipeline(stream, (GROUP, notes), source, store, pipeline(path, store).letters, lambda: NOW)
    run.run(6)
    assert store.readiness([GROUP, notes]) is None
    assert contents(store)[:, 4].sum() == 20

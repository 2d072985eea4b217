"""The sink of absolute records: what is put again changes nothing, what is older replaces nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_pipelines.dead_letters import DeadLetter, DeadLetterFile
from feature_pipelines.sinks import Sink
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.small import GROUP, STREAM

OTHER = replace(GROUP, name="others")
KEYS = np.array([3, 5])
LETTER = DeadLetter("p@1/file", 7, "too late, every window of payments has moved on", b"{}")


@pytest.fixture(params=["memory", "embedded"])
def store(request, tmp_path):
    kept = MemoryStore() if request.param == "memory" else EmbeddedStore(tmp_path / "store", durable=False)
    yield kept
    kept.close()


def sink(store, tmp_path, *groups) -> Sink:
    """Return a sink that has started."""
    made = Sink(
        store,
        STREAM,
        groups or (GROUP,),
        DeadLetterFile(tmp_path / "letters.jsonl"),
        lambda *at: b"%s@%d" % (at[0].encode(), at[1]),
    )
    made.start("test:1", ["payments.csv@1/file"])
    return made


def records(newest_ms: int, count: int = 2) -> np.ndarray:
    """Return records whose newest event is at an instant."""
    made = GROUP.empty(count)
    made["newest_ms"] = newest_ms
    return made


def held(store) -> list[int]:
    """Return the newest event of each key."""
    with store.transaction("payments", {}) as change:
        return change.records(GROUP, KEYS)["newest_ms"].tolist()


def test_a_record_is_replaced_by_one_as_new_or_newer_and_by_no_older_one(store, tmp_path):
    to = sink(store, tmp_path)
    assert to.put(GROUP, KEYS, records(50)) == 2
    assert to.put("cards", KEYS, records(50)) == 2
    assert to.put(GROUP, KEYS[:1], records(60, 1)) == 1
    assert to.put(GROUP, KEYS, records(55)) == 1
    assert held(store) == [60, 55]
    assert to.put(GROUP, KEYS[:0], records(70, 0)) == 0


def test_a_letter_is_written_once_by_whoever_puts_it(store, tmp_path):
    one, other = sink(store, tmp_path), sink(store, tmp_path)
    again = replace(LETTER, offset=8)
    assert [one.bury([LETTER]), other.bury([LETTER, again]), one.bury([again])] == [1, 1, 0]
    assert DeadLetterFile(tmp_path / "letters.jsonl").read() == [LETTER, again]
    assert (one.report.dead, other.report.dead, one.report.reasons) == (1, 1, {"too late": 1})


def test_an_event_is_dead_when_every_group_has_found_it_late(store, tmp_path):
    to = sink(store, tmp_path, GROUP, OTHER)
    assert [to.bury([LETTER], "cards"), to.bury([LETTER], "cards"), to.bury([LETTER], "others")] == [0, 0, 1]
    assert to.bury([LETTER], "others") == 0


def test_a_letter_without_its_bytes_gets_them_from_its_source(store, tmp_path):
    sink(store, tmp_path).bury([replace(LETTER, event=b"")])
    assert DeadLetterFile(tmp_path / "letters.jsonl").read()[0].event == b"p@1/file@7"


def test_a_store_of_another_state_is_refused(store, tmp_path):
    to = sink(store, tmp_path)
    with pytest.raises(ValueError, match="the store holds payments from engine:test:1, needs to be new to engine:b"):
        to.start("b")


def test_a_file_of_other_contents_is_refused(store, tmp_path):
    to = sink(store, tmp_path)
    to.start("test:1", ["payments.csv@1/file", "more.csv@1/file"])
    with pytest.raises(ValueError, match=r"'payments.csv' was read into this store with other contents or in another"):
        to.start("test:1", ["payments.csv@2/file"])


def test_letters_of_nobody_are_not_written_over(store, tmp_path):
    (tmp_path / "letters.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="are not empty and this store never wrote to them"):
        sink(store, tmp_path)

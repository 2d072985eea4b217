"""Bootstrap before a topic: history and topic overlap, and every event counts once."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_pipelines.bootstrap import fill
from feature_pipelines.files import SourceError
from feature_pipelines.handover import IN_HISTORY
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import keyed, piped, source, within
from tests.feature_pipelines.small import MINUTE, NOW, STREAM, contents

COUNT, PAST, FIRST = 200, 170, NOW - 200 * MINUTE
KNOWN = replace(STREAM, id="note", horizon_ms=30 * MINUTE)


def events() -> list[dict]:
    """Return events a minute apart, one in seven half an hour late."""
    chance = random.Random(8)
    return [
        {
            "card": chance.randrange(5),
            "at": FIRST + (number - 25 * (number % 7 == 3)) * MINUTE,
            "amount": chance.randrange(400) / 4,
            "note": f"n{number}",
        }
        for number in range(COUNT)
    ]


@pytest.fixture
def topic(cluster):
    """All events on a topic of three partitions, by card, and which partition and offset each got."""
    address, rows = cluster.topic(3), events()
    cluster.put(address, keyed([orjson.dumps(row) for row in rows], [b"%d" % row["card"] for row in rows]))
    places = {orjson.loads(m.value())["note"]: (m.partition(), m.offset()) for m in cluster.messages(address, 3)}
    return address, rows, places


def streamed(address, letters, stream) -> MemoryStore:
    """Return a store that the whole topic was streamed into."""
    store = MemoryStore()
    run = piped(source(address), store, letters, stream)
    run.run(stop=within())
    run.source.close()
    return store


@pytest.mark.parametrize("offsets", [False, True])
def test_what_is_in_both_counts_once(topic, tmp_path, offsets):
    address, rows, places = topic
    past = [row | dict(zip(("part", "place"), places[row["note"]], strict=True)) for row in rows[:PAST]]
    pq.write_table(pa.Table.from_pylist(past), tmp_path / "past.parquet")
    store = MemoryStore()
    run = piped(source(address), store, tmp_path / "letters", KNOWN)
    filled = fill(run, tmp_path / "past.parquet", offset_columns=("part", "place") if offsets else None)
    report = run.run(stop=within())
    run.source.close()
    wanted = contents(streamed(address, tmp_path / "all", KNOWN), as_of=NOW)
    np.testing.assert_allclose(contents(store, as_of=NOW), wanted, rtol=1e-9)
    counts = store.counts("payments")
    assert counts["events"] - counts.get("duplicate", 0) - counts.get(IN_HISTORY, 0) == COUNT
    if offsets:
        ends: dict[str, int] = {}
        for part, place in (places[row["note"]] for row in rows[:PAST]):
            ends[address.partition(part)] = max(place + 1, ends.get(address.partition(part), 0))
        assert filled.offsets == ends
        assert (report.events, report.duplicates, report.in_history) == (COUNT - PAST, 0, 0)
    else:  # the broker stamped all of them later than the history's end
        assert (filled.offsets, report.events, report.in_history) == ({}, COUNT, PAST)


def test_a_topic_is_read_from_the_first_event_produced_near_the_end_of_history(cluster, tmp_path):
    address, rows = cluster.topic(), events()
    for row in rows:
        cluster._producer.produce(address.topic, orjson.dumps(row), partition=0, timestamp=row["at"])
    cluster.put(address, [])
    pq.write_table(pa.Table.from_pylist(rows[:PAST]), tmp_path / "past.parquet")
    store = MemoryStore()
    run = piped(source(address), store, tmp_path / "letters", KNOWN)
    filled = fill(run, tmp_path / "past.parquet")
    assert 50 < filled.offsets[address.partition(0)] < PAST - 25
    report = run.run(stop=within())
    run.source.close()
    assert report.events == COUNT - filled.offsets[address.partition(0)]
    wanted = contents(streamed(address, tmp_path / "all", KNOWN), as_of=NOW)
    np.testing.assert_allclose(contents(store, as_of=NOW), wanted, rtol=1e-9)


def test_places_that_are_no_numbers_say_so(topic, tmp_path):
    address, rows, _ = topic
    pq.write_table(pa.Table.from_pylist([rows[0] | {"part": "a", "place": 1}]), tmp_path / "past.parquet")
    run = piped(source(address), MemoryStore(), tmp_path / "letters", KNOWN)
    with pytest.raises(SourceError, match="partitions and offsets are not all whole numbers"):
        fill(run, tmp_path / "past.parquet", offset_columns=("part", "place"))
    with pytest.raises(SourceError, match="the history has no parts, needs the columns of partition and offset"):
        fill(run, tmp_path / "past.parquet", offset_columns=("parts", "place"))
    run.source.close()

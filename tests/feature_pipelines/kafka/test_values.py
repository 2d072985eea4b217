"""What a topic carries is counted as what a file holds: the same records, counters and dead letters."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import orjson
import pytest

from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import Cluster, keyed, piped, refused, source, within
from tests.feature_pipelines.small import GROUP, MINUTE, NOW, STREAM, contents, file_of

EVENTS = 300
KNOWN = replace(STREAM, id="note", horizon_ms=10_000 * MINUTE)
HOUR = 60 * MINUTE


def lines(chance: random.Random, count: int) -> tuple[list[bytes], list[bytes]]:
    """Return events out of order, some of them repeated and some not to be counted, and their keys."""
    values: list[bytes] = []
    keys: list[bytes] = []
    for number in range(count):
        card = chance.randrange(9)
        at = 100 * HOUR + int(chance.triangular(0, 40 * MINUTE, 20 * MINUTE))
        event = {"card": card, "at": at, "amount": chance.randrange(10_000) / 4, "note": f"n{number}"}
        if number % 17 == 3:
            event |= chance.choice([{"amount": -1}, {"card": None}, {"at": "soon"}, {"at": 2 * HOUR}])
        value = chance.choice([b"{", b"[1]", b"\xff\xfe"]) if number % 31 == 9 else orjson.dumps(event)
        if number % 11 == 5 and values:
            back = chance.randrange(1, min(len(values), 20) + 1)
            value, card = values[-back], int(keys[-back])
        values.append(value)
        keys.append(b"%d" % card)
    return values, keys


def said(store: MemoryStore) -> dict[str, int]:
    """Return the counters of a store that a file was streamed into, as a topic's messages are called."""
    return {reason.replace("line", "event"): count for reason, count in store.counts("payments").items()}


@pytest.mark.parametrize(("partitions", "batch"), [(1, 7), (4, 1), (4, 64), (8, 100_000_000)])
def test_a_topic_leaves_the_store_that_a_file_leaves(cluster, tmp_path, partitions, batch):
    values, keys = lines(random.Random(partitions), EVENTS)
    address = cluster.topic(partitions)
    cluster.put(address, keyed(values, keys))
    path = file_of(tmp_path, "a.jsonl", b"".join(value + b"\n" for value in values))
    one, other = MemoryStore(), MemoryStore()
    kept = DeadLetterFile(tmp_path / "file")
    told = Pipeline(KNOWN, (GROUP,), FileSource(path, KNOWN, order="file"), one, kept, lambda: NOW).run(64)
    run = piped(source(address), other, tmp_path / "topic", KNOWN)
    report = run.run(batch, stop=within())
    run.source.close()
    assert (report.events, report.duplicates, report.dead) == (told.events, told.duplicates, told.dead)
    assert (report.events, report.duplicates > 15, report.dead > 20) == (EVENTS, True, True)
    assert other._records == one._records
    assert other.counts("payments") == said(one)
    assert other.newest("payments") == one.newest("payments")
    assert refused(run.letters) == [(reason.replace("line", "event"), event) for reason, event in refused(kept)]
    np.testing.assert_array_equal(contents(other, range(9), 101 * HOUR), contents(one, range(9), 101 * HOUR))
    assert sum(at for name, at in other.offsets("payments").items() if name.startswith(address.topic)) == EVENTS


def test_a_second_run_counts_nothing_again_and_a_third_what_came_since(cluster, tmp_path):
    address, store = cluster.topic(3), MemoryStore()
    values, keys = lines(random.Random("again"), 90)
    cluster.put(address, keyed(values[:60], keys[:60]))
    for more, expected in ((0, 60), (0, 0), (30, 30)):
        cluster.put(address, keyed(values[60 : 60 + more], keys[60 : 60 + more]))
        run = piped(source(address), store, tmp_path / "l")
        assert run.run(stop=within()).events == expected
        run.source.close()
    whole = MemoryStore()
    path = file_of(tmp_path, "a.jsonl", b"".join(value + b"\n" for value in values))
    kept = DeadLetterFile(tmp_path / "file")
    Pipeline(STREAM, (GROUP,), FileSource(path, STREAM, order="file"), whole, kept, lambda: NOW).run()
    assert store._records == whole._records
    assert store.counts("payments") == said(whole)


def test_a_letter_tells_where_its_event_stands_in_the_topic(cluster, tmp_path):
    address = cluster.topic(2)
    cluster.put_values(address, [b"x", None], 0)
    cluster.put_values(address, [b'{"card": 1, "at": 5, "amount": 1}', b"3"], 1)
    run = piped(source(address), MemoryStore(), tmp_path / "l")
    report = run.run(stop=within())
    run.source.close()
    assert report.reasons == {
        "the event is not JSON": 1,
        "the event is empty": 1,
        "the event is a JSON number": 1,
    }
    assert sorted((letter.partition, letter.offset, letter.event) for letter in run.letters.read()) == [
        (f"{address.topic}/0", 0, b"x"),
        (f"{address.topic}/0", 1, b""),
        (f"{address.topic}/1", 1, b"3"),
    ]


def test_the_end_is_where_the_topic_ended_when_the_run_began(cluster: Cluster, tmp_path):
    address = cluster.topic(2)
    event = b'{"card": 1, "at": 5, "amount": 1}'
    cluster.put_values(address, [event] * 5)
    run = piped(source(address), MemoryStore(), tmp_path / "l")
    run.start()
    produced = []

    def produce_more(_: int) -> None:
        produced.append(event)
        cluster.put_values(address, [event])

    report = run.run(1, produce_more, within())
    assert report.events == 5
    assert len(produced) == 5
    assert run.source.ends() == {f"{address.topic}/0": 10, f"{address.topic}/1": 0}
    assert set(run.source.lag()) == {f"{address.topic}/0", f"{address.topic}/1"}
    assert run.source.lag()[f"{address.topic}/0"] <= 5  # what is known without asking may be a moment old
    run.source.close()


def test_an_empty_topic_is_at_its_end_at_once(cluster, tmp_path):
    run = piped(source(cluster.topic(3)), store := MemoryStore(), tmp_path / "l")
    assert run.run(stop=within()).events == 0
    run.source.close()
    assert store.counts("payments") == {}


def test_offsets_of_an_instant_are_found_by_the_brokers_clock(cluster):
    address = cluster.topic(2)
    cluster.put_values(address, [b"{}"] * 3, 1)
    events = source(address)
    events.follow(dict)
    batch = None
    while batch is None:
        batch = events.poll(10)
    assert batch.produced_ms is not None
    times = batch.produced_ms()
    assert times.shape == (3,)
    assert events.offsets_at(0) == {f"{address.topic}/0": 0, f"{address.topic}/1": 0}
    assert events.offsets_at(int(times[-1]) + 1) == {f"{address.topic}/0": 0, f"{address.topic}/1": 3}
    assert events.ends() == {f"{address.topic}/0": 0, f"{address.topic}/1": 3}
    events.close()

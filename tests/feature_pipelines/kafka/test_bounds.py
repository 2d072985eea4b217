"""What is held in memory is bounded by settings, and not by the topic; letters on a topic are there at least once."""

from __future__ import annotations

import pytest

from feature_pipelines.files import SourceError
from feature_pipelines.kafka import KafkaAddress, KafkaDeadLetters, create_topic
from feature_pipelines.running import silent
from headrace.cli.broker import local_broker
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import PARTITIONS, WAIT_S, Cluster, piped, source, within
from tests.feature_pipelines.small import jsonl_of

LARGE = b'{"card": 1, "at": 5, "amount": 1, "note": "%s"}' % (b"x" * 50_000)


def test_a_topic_larger_than_the_queue_is_read_in_pieces_that_fit_it(mock):
    address = KafkaAddress(mock.servers, "large")
    for _ in range(8):
        for partition in range(PARTITIONS):
            mock.put_values(address, [LARGE] * 4, partition)
    kept = {"queued.max.messages.kbytes": "512", "fetch.message.max.bytes": "200000"}
    events = source(address, settings=kept)
    events.follow(dict)
    sizes: list[int] = []
    stop = within(60, lambda: events.ended)
    while not stop():
        if batch := events.poll(100_000_000):
            sizes.append(sum(len(batch.original(at)) for at in range(batch.count)))
    events.close()
    assert sum(sizes) == 8 * PARTITIONS * 4 * len(LARGE)
    assert max(sizes) < sum(sizes) / 3  # one answer of the broker for every partition may be beyond the bound


def letters_to(address: KafkaAddress, **settings: str) -> KafkaDeadLetters:
    """Open a topic of dead letters."""
    return KafkaDeadLetters(address, settings, silent, WAIT_S)


def test_a_letter_of_a_batch_that_was_run_again_is_there_again_under_its_key(cluster, tmp_path):
    address, letters = cluster.topic(), cluster.topic()
    cluster.put_values(address, [b"bad", *jsonl_of([{"card": 1, "at": 5, "amount": 1}]).splitlines(), None])

    for _ in range(2):  # to the topic the second run is what a crash before the commit makes of the first
        run = piped(source(address), MemoryStore(), letters_to(letters))
        assert run.run(stop=within()).dead == 2
        run.source.close()
    found = cluster.messages(letters)
    assert len(found) == 4
    assert {(m.key(), m.value(), dict(m.headers())["reason"]) for m in found} == {
        (f"{address.topic}/0@0".encode(), b"bad", b"the event is not JSON"),
        (f"{address.topic}/0@2".encode(), b"", b"the event is empty"),
    }


def test_more_letters_than_the_client_queues_are_all_written(cluster, tmp_path):
    address, letters = cluster.topic(), cluster.topic()
    cluster.put_values(address, [b"bad"] * 500)
    run = piped(source(address), MemoryStore(), letters_to(letters, **{"queue.buffering.max.messages": "50"}))
    assert run.run(stop=within()).dead == 500
    run.source.close()
    assert len(cluster.messages(letters)) == 500


def test_a_topic_of_letters_that_is_not_there_is_refused(cluster):
    with pytest.raises(SourceError, match="has no topic 'no-letters'"):
        letters_to(KafkaAddress(cluster.servers, "no-letters"))


def test_letters_that_no_broker_takes_stop_the_run_before_the_batch_counts(cluster, tmp_path):
    address, store = cluster.topic(), MemoryStore()
    cluster.put_values(address, [b"bad"] * 3)
    with local_broker(tmp_path / "broker") as servers:
        kept = KafkaAddress(servers, "letters")
        create_topic(kept)
        run = piped(source(address), store, letters_to(kept, **{"message.timeout.ms": "300"}))
        run.start()
    said = r"topic 'letters' did not take 3 dead letters: .*; their batch is not counted and will be read again"
    with pytest.raises(SourceError, match=said):
        run.run(stop=within())
    run.source.close()
    assert store.counts("payments") == {}
    with local_broker(tmp_path / "broker", int(servers.rpartition(":")[2])):
        again = piped(source(address), store, letters_to(kept))
        assert again.run(stop=within()).dead == 3
        again.source.close()
        assert len(Cluster(servers).messages(kept)) == 3

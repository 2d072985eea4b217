"""A cluster as a test sees it: topics of its own, messages put into them and read back, and pipelines over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import confluent_kafka as kafka
from confluent_kafka.admin import AdminClient

from feature_pipelines.addresses import SourceOptions
from feature_pipelines.dead_letters import DeadLetterFile, DeadLetters
from feature_pipelines.formats import JsonReader, Reader
from feature_pipelines.kafka import KafkaAddress, KafkaSource, create_topic
from feature_pipelines.runner import Pipeline
from headrace.features.streams import Stream
from headrace.stores.online import WritableStore
from tests.feature_pipelines.small import GROUP, NOW, STREAM

Message = tuple[int | None, bytes | None, bytes | None]  # partition or None for that of the key, key, value
WAIT_S = 30.0
#: Of the topics on the mock cluster, and of the groups there, in seconds.
PARTITIONS, SESSION_S = 8, 6


class Cluster:
    """Brokers that run, and clients that are kept since a new one takes its time."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.admin = AdminClient({"bootstrap.servers": servers})
        self._producer = kafka.Producer({"bootstrap.servers": servers, "linger.ms": 0, "acks": "1"})
        self._numbers = count()

    def topic(self, partitions: int = 1) -> KafkaAddress:
        """Make a topic that no other test knows."""
        address = KafkaAddress(self.servers, f"topic-{next(self._numbers)}")
        create_topic(address, partitions)
        return address

    def put(self, address: KafkaAddress, messages: Iterable[Message]) -> None:
        """Produce messages, each partition's in order, and wait until the broker has them."""
        for partition, key, value in messages:
            place = {} if partition is None else {"partition": partition}
            self._producer.produce(address.topic, value, key=key, **place)
        assert self._producer.flush(WAIT_S) == 0

    def put_values(self, address: KafkaAddress, values: Iterable[bytes | None], partition: int = 0) -> None:
        """Produce values into one partition."""
        self.put(address, ((partition, None, value) for value in values))

    def messages(self, address: KafkaAddress, partitions: int = 1) -> list[Any]:
        """Return every message of a topic, partition after partition."""
        reader = kafka.Consumer({"bootstrap.servers": self.servers, "group.id": "reader", "enable.auto.commit": False})
        found = []
        for partition in range(partitions):
            place = kafka.TopicPartition(address.topic, partition)
            low, high = reader.get_watermark_offsets(place, timeout=WAIT_S)
            place.offset = low
            reader.assign([place])
            end = len(found) + high - low
            while len(found) < end:
                message = reader.poll(WAIT_S)
                assert message is not None
                found.append(message)
        reader.close()
        return found

    def cut(self, address: KafkaAddress, before: int, partition: int = 0) -> None:
        """Delete the messages of a partition before an offset, as retention does."""
        place = kafka.TopicPartition(address.topic, partition, before)
        self.admin.delete_records([place])[place].result(WAIT_S)

    def renew(self, address: KafkaAddress) -> None:
        """Make a topic anew, empty."""
        self.drop(address)
        create_topic(address)

    def drop(self, address: KafkaAddress) -> None:
        """Delete a topic."""
        self.admin.delete_topics([address.topic])[address.topic].result(WAIT_S)


def within(seconds: float = WAIT_S, until: Callable[[], bool] = lambda: False) -> Callable[[], bool]:
    """Return a wish to stop that comes when `until()` is true and fails the test when it never is."""
    end = monotonic() + seconds

    def stop() -> bool:
        assert monotonic() < end, f"still going after {seconds:g} s"
        return until()

    return stop


def source(address: KafkaAddress, reader: Reader | None = None, **options: Any) -> KafkaSource:
    """Open a topic of small events, alone and to its end unless said otherwise."""
    told = {"to_end": True, "wait_s": WAIT_S, "poll_s": 0.02, **options}
    return KafkaSource(address, reader or JsonReader(STREAM.names), SourceOptions(**told))


def piped(events: KafkaSource, store: WritableStore, letters: DeadLetters | Path, stream: Stream = STREAM) -> Pipeline:
    """Return a pipeline of small events into a store."""
    kept = DeadLetterFile(letters) if isinstance(letters, Path) else letters
    return Pipeline(stream, (GROUP,), events, store, kept, lambda: NOW)


def refused(letters: DeadLetters) -> list[tuple[str, bytes]]:
    """Return reason and event of every dead letter in a file, in an order that partitions do not matter to."""
    assert isinstance(letters, DeadLetterFile)
    return sorted((letter.reason, letter.event) for letter in letters.read())


def keyed(values: Sequence[bytes], keys: Sequence[bytes]) -> list[Message]:
    """Return messages that go where their keys say."""
    return [(None, key, value) for key, value in zip(keys, values, strict=True)]

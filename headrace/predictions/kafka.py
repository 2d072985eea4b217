"""Predictions as messages of a Kafka topic: one for each row, JSON, keyed by the request's id.

The client's own queue is bounded and never waited for: what it has no room for, and what the broker did not take
within its time, is lost and counted. Settings are librdkafka's, from HEADRACE_KAFKA_* as for the pipelines.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import confluent_kafka as kafka
import orjson
import pyarrow as pa

from headrace.predictions.log import SinkFailed
from headrace.predictions.records import Record, records_of
from headrace.settings import KAFKA_PREFIX, is_service_link

SCHEME = "kafka://"
_ADDRESS = re.compile(r"kafka://(?P<servers>[^/]+:\d+)/(?P<topic>[\w.-]{1,249})", re.ASCII)
_DELIVERY_S = 30.0
_ASK_S = 10.0
_CLOSE_S = 5.0


def address_of(text: str) -> tuple[str, str]:
    """Return the servers and the topic of `kafka://host:port,host:port/topic`; ValueError for anything else.

    >>> address_of("kafka://127.0.0.1:9092/predictions")
    ('127.0.0.1:9092', 'predictions')
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no address of a topic, needs kafka://host:port/topic")
    return found["servers"], found["topic"]


def client_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what HEADRACE_KAFKA_* says of the client: HEADRACE_KAFKA_SASL_USERNAME is `sasl.username`."""
    return {
        name.removeprefix(KAFKA_PREFIX).lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(KAFKA_PREFIX) and not is_service_link(name, value)
    }


class KafkaTopic:
    """A topic that predictions are produced to."""

    every_s = 0.0
    most_rows = 1

    def __init__(self, address: str, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for what is no address, SinkFailed for settings that the client refuses."""
        servers, self.topic = address_of(address)
        told = {
            "linger.ms": 50,
            "compression.type": "zstd",
            "message.timeout.ms": int(_DELIVERY_S * 1000),
            "queue.buffering.max.messages": 100_000,
            **settings,
            "bootstrap.servers": servers,
            "log_level": 0,
        }
        self._written = self._lost = 0
        self._why = ""
        try:
            self._producer = kafka.Producer(told)
        except kafka.KafkaException as refused:
            raise SinkFailed(f"the Kafka client takes no such settings: {refused.args[0].str()}") from refused

    def write(self, table: pa.Table) -> None:
        """Queue each row as a message; whether the broker took it, `settled` tells later."""
        for record in records_of(table):
            self._produce(record)

    def settled(self) -> int:
        """Return how many messages the broker took since; SinkFailed where some were lost."""
        self._producer.poll(0)
        if self._lost:
            lost, why = self._lost, self._why
            self._lost, self._why = 0, ""
            raise SinkFailed(f"topic {self.topic!r} did not take {lost} rows: {why}", lost)
        written, self._written = self._written, 0
        return written

    def close(self) -> None:
        """Wait a few seconds for the broker to take what was queued; what it did not is lost."""
        if left := self._producer.flush(_CLOSE_S):
            self._lost, self._why = self._lost + left, self._why or "it does not answer"

    def _produce(self, record: Record) -> None:
        try:
            self._producer.produce(
                self.topic, orjson.dumps(record), key=record["request_id"], on_delivery=self._delivered
            )
        except BufferError:
            self._lost, self._why = self._lost + 1, "the client's queue is full"
        except kafka.KafkaException as refused:
            self._lost, self._why = self._lost + 1, refused.args[0].str()

    def _delivered(self, error: kafka.KafkaError | None, _: kafka.Message) -> None:
        if error is None:
            self._written += 1
        else:
            self._lost, self._why = self._lost + 1, error.str()


def messages(address: str, settings: Mapping[str, Any], since_ms: int) -> Iterator[Record]:
    """Give every record that a topic holds from an instant on, until where it ends now.

    Raises SinkFailed where no broker answers or there is no such topic. What is no record is passed over.
    """
    servers, topic = address_of(address)
    group = {"group.id": f"explain-{os.getpid()}", "enable.auto.commit": False, "log_level": 0}
    consumer = kafka.Consumer({**settings, **group, "bootstrap.servers": servers, "enable.partition.eof": True})
    try:
        known = consumer.list_topics(topic, timeout=_ASK_S).topics[topic]
        if known.error is not None:
            raise SinkFailed(f"topic {topic!r} cannot be read: {known.error.str()}")
        starts = [kafka.TopicPartition(topic, number, since_ms) for number in known.partitions]
        consumer.assign(consumer.offsets_for_times(starts, timeout=_ASK_S))
        yield from _until_end(consumer, len(starts), topic)
    except kafka.KafkaException as refused:
        raise SinkFailed(f"topic {topic!r} cannot be read: {refused.args[0].str()}") from refused
    finally:
        consumer.close()


def _until_end(consumer: kafka.Consumer, partitions: int, topic: str) -> Iterator[Record]:
    ended: set[int] = set()
    until = time.monotonic() + _ASK_S
    while len(ended) < partitions:
        message = consumer.poll(1.0)
        if message is None:
            if time.monotonic() > until:
                raise SinkFailed(f"topic {topic!r} gave nothing for {_ASK_S:.0f} s, its broker seems to be away")
            continue
        until = time.monotonic() + _ASK_S
        if (error := message.error()) is not None:
            if error.code() != kafka.KafkaError._PARTITION_EOF:
                raise SinkFailed(f"topic {topic!r} cannot be read: {error.str()}")
            ended.add(message.partition() or 0)
            continue
        try:
            record = orjson.loads(message.value() or b"null")
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict) and "request_id" in record:
            yield record

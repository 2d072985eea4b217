"""Messages to a topic: those that a broker did not take are never passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import confluent_kafka as kafka
from confluent_kafka.admin import AdminClient, NewTopic

from feature_pipelines.files import SourceError
from feature_pipelines.kafka.client import ANSWER_S, ASK_S, Broker, KafkaAddress, text_of
from feature_pipelines.running import silent

_DELIVERY_S = 60.0


class Sender:
    """Produces to a broker's topic and tells what it did not take."""

    def __init__(self, broker: Broker, wait_s: float) -> None:
        """`wait_s` is how long the broker may take to acknowledge a message."""
        told = {"enable.idempotence": True, "acks": "all", "linger.ms": 5, "message.timeout.ms": int(wait_s * 1000)}
        self.producer = broker.client(kafka.Producer, told)
        self.sent = 0
        self._topic = broker.address.topic
        self._failed: list[str] = []

    def send(self, value: bytes | None, key: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Queue a message, waiting while the queue is full."""
        while True:
            try:
                self.producer.produce(
                    self._topic, value, key=key, headers=dict(headers or {}), on_delivery=self._delivered
                )
                self.sent += 1
                return
            except BufferError:  # the client's queue is full: let it send
                self.producer.poll(ASK_S)
            except kafka.KafkaException as refused:  # too large, for instance
                raise SourceError(f"topic {self._topic!r} does not take a message: {text_of(refused)}") from refused

    def flush(self, what: str) -> None:
        """Wait until every message is acknowledged; SourceError where one was not, in time or at all."""
        self.producer.flush(-1)  # each message is acknowledged or fails within its time
        failed, self._failed = self._failed, []
        if failed:
            raise SourceError(f"topic {self._topic!r} did not take {len(failed)} {what}: {failed[0]}")

    def _delivered(self, error: kafka.KafkaError | None, _: kafka.Message) -> None:
        if error is not None:
            self._failed.append(error.str())


def create_topic(address: KafkaAddress, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
    """Create a topic that keeps its events; one that is there is left as it is. Raises SourceError."""
    admin = Broker(address, settings or {}, silent).client(AdminClient, {})
    topic = NewTopic(address.topic, partitions, config={"retention.ms": "-1"})
    try:
        admin.create_topics([topic])[address.topic].result(ANSWER_S)
    except kafka.KafkaException as refused:
        if refused.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
            raise SourceError(f"topic {address.topic!r} cannot be created: {text_of(refused)}") from refused


def produce(
    address: KafkaAddress, events: Iterable[tuple[bytes, bytes]], settings: Mapping[str, str] | None = None
) -> int:
    """Produce key and value of each event, in order, and return how many once the broker has them all."""
    sender = Sender(Broker(address, settings or {}, silent), _DELIVERY_S)
    for key, value in events:
        sender.send(value, key)
    sender.flush("events")
    return sender.sent

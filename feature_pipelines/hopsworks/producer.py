"""Messages to the topics of a cluster's Kafka: one client per process, and every message acknowledged.

`send` queues, `confirm` waits until all that was sent is in the log of every replica; what is not, in
time or at all, is a StoreUnavailable, and what was queued behind it is thrown away. Messages of one key
keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import confluent_kafka as kafka

from feature_pipelines.files import SourceError
from feature_pipelines.kafka.client import Broker, KafkaAddress, text_of
from feature_pipelines.running import Stop, Tell, never, silent
from headrace.stores.online import StoreUnavailable

_ASK_S = 0.5  # how long a wait is before somebody is asked whether to go on


class RowProducer:
    """The client of a cluster's Kafka at `servers`; `topics` are those that will be written.

    A broker is awaited for `wait_s` seconds, at the start and for every message, or until `stop()`.
    `tell` hears when it is awaited, lost and back.
    """

    def __init__(
        self,
        servers: str,
        topics: Iterable[str],
        settings: Mapping[str, str],
        *,
        wait_s: float = 60.0,
        tell: Tell = silent,
        stop: Stop = never,
    ) -> None:
        """Raises StoreUnavailable where no broker answers, where it refuses us, or lacks a topic."""
        self._servers, self._wait_s, self._stop = servers, wait_s, stop
        self._failed: list[str] = []
        told = {
            "linger.ms": 5,
            "compression.type": "lz4",  # much of a record is alike
            **settings,
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": int(wait_s * 1000),
            "delivery.report.only.error": True,
            "on_delivery": self._delivered,
        }
        brokers = [Broker(KafkaAddress(servers, topic), settings, tell) for topic in topics]
        try:
            self._client = brokers[0].client(kafka.Producer, told)
            for broker in brokers:
                broker.partitions(self._client, wait_s, stop)
        except SourceError as refused:
            raise StoreUnavailable(f"Hopsworks cannot be written to: {refused}") from refused
        self._broker = brokers[0]

    def send(self, topic: str, keys: Iterable[str], values: Iterable[bytes], headers: Mapping[str, bytes]) -> None:
        """Queue messages, waiting while the queue is full; raises StoreUnavailable."""
        produce, common = self._client.produce, list(headers.items())
        for key, value in zip(keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key, headers=common)
                    break
                except BufferError:  # the queue is full: let it send
                    self._client.poll(_ASK_S)
                    self._check()
                except kafka.KafkaException as refused:
                    raise self._refused(topic, text_of(refused)) from refused

    def confirm(self) -> None:
        """Return once everything sent is acknowledged; raises StoreUnavailable where it is not."""
        while left := self._client.flush(_ASK_S):
            self._check()
            if self._stop():
                self._client.purge()
                self._client.flush(_ASK_S)
                self._failed.clear()
                raise StoreUnavailable(
                    f"told to stop before Hopsworks' Kafka at {self._servers} acknowledged {left:,} rows: "
                    "nothing is committed"
                )
        self._check()
        self._broker.found()

    def close(self) -> None:
        """Throw away what is not acknowledged; what was confirmed is."""
        self._client.purge()
        self._client.flush(_ASK_S)

    def _check(self) -> None:
        if self._failed:
            failed = self._failed[0]
            self._client.purge()
            self._client.flush(_ASK_S)
            self._failed.clear()
            topic, _, why = failed.partition("\0")
            raise self._refused(topic, why)

    def _refused(self, topic: str, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"topic {topic!r} of Hopsworks' Kafka at {self._servers} did not take a row: {why}; nothing is committed"
        )

    def _delivered(self, error: kafka.KafkaError | None, message: kafka.Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}\0{error.str()}")

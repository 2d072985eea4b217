"""Dead letters to a topic: the original bytes as the value, the reason and the origin as headers.

A letter is on the topic before its batch is committed, so none is lost; a batch that is run
again, after a crash, may write it again. The key is the origin, so that a compacted topic, or
a reader that keeps one letter per key, holds each letter once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import confluent_kafka as kafka

from feature_pipelines.dead_letters import PARTITION, DeadLetter
from feature_pipelines.files import SourceError
from feature_pipelines.kafka.client import Broker, KafkaAddress, Tell

_DELIVERY_S = 30.0


class KafkaDeadLetters:
    """A topic of dead letters; its `partition` counts the letters a store has written there."""

    def __init__(self, address: KafkaAddress, settings: Mapping[str, str], tell: Tell, wait_s: float = 60.0) -> None:
        """Connect, waiting for a broker; raises SourceError where there is none, or no such topic."""
        self.path = f"kafka://{address.servers}/{address.topic}"
        self.partition = f"{PARTITION}:{self.path}"
        self._topic = address.topic
        broker = Broker(address, settings, tell)
        self._producer = broker.client(kafka.Producer, {"enable.idempotence": True, "acks": "all", "linger.ms": 5})
        broker.partitions(self._producer, wait_s)

    def check_new(self) -> None:
        """A topic may be shared: letters name the partition and offset they are of."""

    def append(self, letters: Sequence[DeadLetter], at: int) -> int:
        """Produce letters and wait until the broker has them; return how many there are now.

        Raises SourceError where the broker did not take one in time: the batch is then not committed.
        """
        failed: list[str] = []

        def delivered(error: kafka.KafkaError | None, _: kafka.Message) -> None:
            if error is not None:
                failed.append(error.str())

        for letter in letters:
            self._producer.produce(
                self._topic,
                letter.event,
                key=f"{letter.partition}@{letter.offset}",
                headers={
                    "partition": letter.partition, "offset": str(letter.offset), "reason": letter.reason,
                },
                on_delivery=delivered,
            )  # fmt: skip
        left = self._producer.flush(_DELIVERY_S) if letters else 0
        if failed or left:
            raise SourceError(
                f"topic {self._topic!r} did not take {len(failed) + left} dead letters "
                f"({(failed or ['no answer'])[0]}): their batch is not counted and will be read again"
            )
        return at + len(letters)

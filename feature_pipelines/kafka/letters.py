"""Dead letters to a topic: the original bytes as the value, the reason and the origin as headers.

A letter is on the topic before its batch is committed, so none is lost; a batch that is run
again, after a crash, may write it again. The key is the origin, so that a compacted topic, or
a reader that keeps one letter per key, holds each letter once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_pipelines.dead_letters import PARTITION, DeadLetter
from feature_pipelines.files import SourceError
from feature_pipelines.kafka.client import Broker, KafkaAddress
from feature_pipelines.kafka.sender import Sender
from feature_pipelines.running import Stop, Tell, never

_DELIVERY_S = 30.0


class KafkaDeadLetters:
    """A topic of dead letters; its `partition` counts the letters a store has written there."""

    def __init__(
        self, address: KafkaAddress, settings: Mapping[str, str], tell: Tell, wait_s: float = 60.0, stop: Stop = never
    ) -> None:
        """Connect, waiting for a broker; raises SourceError where there is none, or no such topic."""
        self.path = f"kafka://{address.servers}/{address.topic}"
        self.partition = f"{PARTITION}:{self.path}"
        broker = Broker(address, settings, tell)
        self._sender = Sender(broker, _DELIVERY_S)
        broker.partitions(self._sender.producer, wait_s, stop)

    def check_new(self) -> None:
        """A topic may be shared: letters name the partition and offset they are of."""

    def append(self, letters: Sequence[DeadLetter], at: int) -> int:
        """Produce letters and wait until the broker has them; return how many there are now.

        Raises SourceError where the broker did not take one in time: the batch is then not committed.
        """
        try:
            for letter in letters:
                headers = {"partition": letter.partition, "offset": str(letter.offset), "reason": letter.reason}
                self._sender.send(letter.event, f"{letter.partition}@{letter.offset}".encode(), headers)
            self._sender.flush("dead letters")
        except SourceError as refused:
            raise SourceError(f"{refused}; their batch is not counted and will be read again") from refused
        return at + len(letters)

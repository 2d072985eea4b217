"""A topic as a source: positions are the store's, and the consumer group only shares out partitions.

When partitions are assigned the source asks where the store stands and reads on from there;
the group's own committed offsets are kept for lag tools and never read. A batch of a process
that has lost a partition cannot be committed, because the store has moved on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import confluent_kafka as kafka
import numpy as np

from feature_pipelines.addresses import SourceOptions
from feature_pipelines.files import SourceError
from feature_pipelines.formats import Reader
from feature_pipelines.kafka.client import Broker, KafkaAddress
from feature_pipelines.sources import Batch, Stored

_IDLE_S = 15.0  # without a partition, before that is said
_MOST = 1_000_000  # messages that the client hands over at once
_fault: Any = kafka.Message.error  # called as functions, by which `map` spares a loop over messages
_partition: Any = kafka.Message.partition
_value: Any = kafka.Message.value
_ENDED = kafka.KafkaError._PARTITION_EOF
_GAP = (kafka.KafkaError.OFFSET_OUT_OF_RANGE, kafka.KafkaError._AUTO_OFFSET_RESET)
_FATAL = (
    kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
    kafka.KafkaError._UNKNOWN_TOPIC,
    kafka.KafkaError._UNKNOWN_PARTITION,
    kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED,
    kafka.KafkaError.GROUP_AUTHORIZATION_FAILED,
    kafka.KafkaError._FATAL,
)


class KafkaSource:
    """Events of a topic; `follow` must be called before `poll`."""

    total: int | None = None

    def __init__(self, address: KafkaAddress, reader: Reader, options: SourceOptions) -> None:
        """Connect, waiting for a broker; raises SourceError where there is none, or no such topic."""
        self.address, self.at = address, 0
        self._reader, self._options = reader, options
        self._broker = Broker(address, options.settings, options.tell)
        self._position: dict[int, int] = {}  # of each partition read here, the next offset
        self._stands: dict[int, int] = {}  # and where the store stands, which is less where offsets hold no events
        self._ended: set[int] = set()
        self._until: dict[int, int] = {}  # the ends of all partitions at the start, where they are asked for
        self._moved: set[int] = set()  # partitions that changed hands while a batch was gathered
        self._failed: SourceError | None = None
        self._idle_since = 0.0
        self._told_idle = False
        self._stored: Stored = dict
        self._consumer = self._broker.client(
            kafka.Consumer,
            {
                "group.id": options.group or "headrace",
                "enable.auto.commit": bool(options.group),
                "enable.auto.offset.store": False,
                "auto.commit.interval.ms": 1000,
                "auto.offset.reset": "error",
                "enable.partition.eof": options.to_end,
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 10,  # after the queue was full; a second, by default, empties it
            },
        )
        try:
            self.partitions = options.partitions or tuple(
                self._broker.partitions(self._consumer, options.wait_s, options.stop)
            )
        except SourceError:
            self._consumer.close()
            raise

    def follow(self, stored: Stored) -> None:
        """Read from where `stored()` says; it is asked again whenever partitions are assigned."""
        self._stored = stored
        if self._options.to_end:
            self._until = {p: self._broker.bounds(self._consumer, p)[1] for p in self.partitions}
        if self._options.group:
            self._consumer.subscribe(
                [self.address.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
        else:
            self._assigned(self._consumer, [self._broker.at(p) for p in self.partitions])

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Go to these offsets in the partitions that are read now and stand elsewhere."""
        for number in list(self._position):
            stored = offsets.get(self.address.partition(number))
            if (stored or 0) != self._stands[number]:
                self._go(number, stored)

    def poll(self, limit: int) -> Batch | None:
        """Return the events that are there, up to `limit`; None where none came in time.

        Raises SourceError where the topic is gone, or no longer holds what comes next.
        """
        if self.ended and not self._failed:
            return None
        message = self._consumer.poll(self._options.poll_s)
        if not self._position:
            self._without()
        messages = [] if message is None else self._with(message, limit)
        if self._failed:
            raise self._failed
        if any(map(_fault, messages)):
            faulty = [message for message in messages if _fault(message)]
            messages = [message for message in messages if not _fault(message)]
            self._heed(faulty)
        return self._batch(messages)

    @property
    def ended(self) -> bool:
        """Whether the end was asked for and is reached: of the partitions read here, or by all of them together."""
        if not self._options.to_end:
            return False
        if self._position:
            return all(p in self._ended or at >= self._until.get(p, 0) for p, at in self._position.items())
        offsets = self._stored()
        return all(offsets.get(self.address.partition(p), 0) >= end for p, end in self._until.items())

    @property
    def assigned(self) -> tuple[str, ...]:
        """The partitions that are read here now."""
        return tuple(map(self.address.partition, sorted(self._position)))

    def ends(self) -> dict[str, int]:
        """Return the offset after the last event of every partition."""
        return {self.address.partition(p): self._broker.bounds(self._consumer, p)[1] for p in self.partitions}

    def lag(self) -> dict[str, int]:
        """Return how many events of each partition read here are not read yet, as far as is known without asking."""
        known = {p: self._consumer.get_watermark_offsets(self._broker.at(p), cached=True) for p in self._position}
        return {
            self.address.partition(p): max(0, bounds[1] - self._position[p]) for p, bounds in known.items() if bounds
        }

    def offsets_at(self, instant_ms: int) -> dict[str, int]:
        """Return, by partition, the first offset whose broker timestamp is at or after an instant, or the end."""
        found = self._broker.offsets_at(self._consumer, self.partitions, instant_ms)
        return {self.address.partition(p): at for p, at in found.items()}

    def acknowledge(self) -> None:
        """Let the group know, for its lag tools, that the store holds everything returned so far."""
        if not (self._options.group and self._position):
            return
        with suppress(kafka.KafkaException):  # of a partition that was just lost: nothing hangs on it
            self._consumer.store_offsets(offsets=[self._broker.at(p, at) for p, at in self._position.items()])

    def close(self) -> None:
        """Leave the group at once, so that others take over."""
        self._consumer.close()

    def _without(self) -> None:
        """Say once that no partition is read here, when that has been so for a while."""
        now = monotonic()
        self._idle_since = self._idle_since or now
        if not self._told_idle and now - self._idle_since >= _IDLE_S:
            self._told_idle = True
            self._options.tell(
                f"no partition of {self.address.topic} is read here after {_IDLE_S:.0f} s: other members of group "
                f"{self._options.group} have them, or one that was killed is counted until its session ends"
            )

    def _with(self, first: Any, limit: int) -> list[Any]:
        self._moved.clear()
        more: list[Any] = self._consumer.consume(min(limit - 1, _MOST), 0) if limit > 1 else []
        # If its partition was taken and given back meanwhile, `more` begins again at the store's offset.
        return more if first.partition() in self._moved else [first, *more]

    def _assigned(self, consumer: Any, given: Sequence[Any]) -> None:
        self._moved |= {at.partition for at in given}
        try:
            offsets = self._stored()
            for at in given:
                stored = offsets.get(self.address.partition(at.partition))
                at.offset = self._within(at.partition, stored)
                self._stands[at.partition] = stored or 0
        except SourceError as gap:  # raised by poll, since librdkafka swallows what a callback raises
            self._failed = gap
            return
        self._position |= {at.partition: at.offset for at in given}
        self._idle_since, self._told_idle = 0.0, False
        if self._is_cooperative():
            consumer.incremental_assign(list(given))
        else:
            consumer.assign(list(given))
        if self._options.group:
            here = ", ".join(map(str, sorted(self._position))) or "none"
            self._options.tell(f"partitions of {self.address.topic} read here: {here}")

    def _revoked(self, consumer: Any, taken: Sequence[Any]) -> None:
        self._moved |= {at.partition for at in taken}
        for at in taken:
            self._position.pop(at.partition, None)
            self._stands.pop(at.partition, None)
            self._ended.discard(at.partition)
        if self._is_cooperative():
            consumer.incremental_unassign(list(taken))
        else:
            consumer.unassign()

    def _is_cooperative(self) -> bool:
        settings = self._options.settings
        return bool(self._options.group) and (
            settings.get("partition.assignment.strategy", "").startswith("cooperative")
            or settings.get("group.protocol") == "consumer"
        )

    def _go(self, partition: int, stored: int | None) -> None:
        at = self._within(partition, stored)
        self._consumer.seek(self._broker.at(partition, at))
        self._position[partition], self._stands[partition] = at, stored or 0
        self._ended.discard(partition)

    def _within(self, partition: int, stored: int | None) -> int:
        """Return where to read on: the stored offset, where the topic still holds it."""
        low, high = self._broker.bounds(self._consumer, partition)
        if stored is None or low <= stored <= high:
            return low if stored is None else stored
        return self._gap(partition, stored, low, high)

    def _gap(self, partition: int, stored: int, low: int, high: int) -> int:
        name = self.address.partition(partition)
        if stored > high:
            said = f"{name} ends at {high} and the store stands at {stored}: the topic is another one or was cut short"
        else:
            said = f"{name} begins at {low} and the store stands at {stored}: {low - stored:,} events are lost"
        if not self._options.accept_gap:
            raise SourceError(f"{said}, needs --accept-gap to go on at {low}, or a new store")
        self._options.tell(f"{said}; going on at {low}, as accepted")
        return low

    def _heed(self, faulty: Sequence[Any]) -> None:
        for message in faulty:
            error: Any = message.error()
            if error.code() == _ENDED:
                self._ended.add(message.partition())
            elif error.code() in _GAP and message.partition() in self._position:
                self._go(message.partition(), self._stands.get(message.partition()))
            elif error.code() in _FATAL:
                raise SourceError(f"topic {self.address.topic!r} can no longer be read: {error.str()}")

    def _batch(self, messages: list[Any]) -> Batch | None:
        if not messages:
            return None
        self._broker.found()
        partitions = list(map(_partition, messages))
        here, backwards = sorted(set(partitions)), partitions[::-1]
        first = {p: messages[partitions.index(p)].offset() for p in here}
        if any(at < self._position.get(p, at + 1) for p, at in first.items()):
            return self._batch([m for m in messages if m.offset() >= self._position.get(m.partition(), m.offset() + 1)])
        for p, at in first.items():
            if at > self._position[p]:
                self._jumped(p, at)
        last = {p: messages[~backwards.index(p)].offset() for p in here}
        start = {self.address.partition(p): self._stands[p] for p in last}
        for p, at in last.items():
            self._position[p] = self._stands[p] = at + 1
        self.at += len(messages)
        values = list(map(_value, messages))
        raw, unreadable = self._reader.read(values)
        return Batch(
            count=len(messages),
            raw=raw,
            start=start,
            end={self.address.partition(p): at + 1 for p, at in last.items()},
            unreadable=unreadable,
            original=lambda event: values[event] or b"",
            origin=lambda event: (self.address.partition(partitions[event]), messages[event].offset()),
            produced_ms=lambda: np.array([message.timestamp()[1] for message in messages], dtype=np.int64),
        )

    def _jumped(self, partition: int, at: int) -> None:
        # Compaction and transactions leave offsets without events, which is no loss.
        low, position = self._broker.bounds(self._consumer, partition, cached=True)[0], self._position[partition]
        if low > position:
            self._gap(partition, position, low, at)

"""OnlineFS: reads every group's online topic and upserts what it holds into the online rows.

A thread consumes and decodes; rows change on the servers' loop alone, so that a request never meets half a batch.
A message that a cluster would not apply is kept, with the reason, in `refused`, and changes nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from io import BytesIO
from typing import Any

import fastavro
import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tests.hopsworks.avro import schema_of
from tests.hopsworks.metadata import PROJECT_ID, Metadata
from tests.hopsworks.online import NotARowError

_NEEDED = ("projectId", "featureGroupId", "subjectId")
_KNOWN = {*_NEEDED, "onlineIngestionId", "storage", "upsertIfNewer", "operation"}
_REST_S = 0.02
_POLL_S = 0.02
_BATCH = 200
_SKIPPED = (b"offline", b"0")


class Ingestion:
    """The consumer of one cluster; `delay_s` passes between reading a message and its rows being seen."""

    def __init__(self, state: Metadata, loop: asyncio.AbstractEventLoop) -> None:
        self._state, self._loop = state, loop
        self.refused: list[str] = []
        self.delay_s = 0.0
        self._schemas: dict[tuple[int, int], Any] = {}
        self._applied: dict[str, int] = {}
        self._waiting: list[tuple[int, int, asyncio.Future[int]]] = []
        self._late: deque[tuple[float, list[Message]]] = deque()
        self._ended = threading.Event()
        self._admin = AdminClient({"bootstrap.servers": state.kafka})
        self._thread = threading.Thread(target=self._run, name="onlinefs", daemon=True)
        self._thread.start()

    def create_topic(self, name: str) -> None:
        """Make a topic that keeps its messages, whatever their time."""
        topic = NewTopic(name, num_partitions=1, replication_factor=1, config={"retention.ms": "-1"})
        self._admin.create_topics([topic])[name].result()

    def behind(self, topic: str) -> bool:
        """Tell whether a topic holds messages that were not applied yet."""
        at = TopicPartition(topic, 0)
        end = self._admin.list_offsets({at: OffsetSpec.latest()})[at].result().offset
        return bool(end > self._applied.get(topic, 0))

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    async def reached(self, group: int, count: int, within_s: float) -> int:
        """Return a group's count of messages once it is at least `count`; raises TimeoutError."""
        table = self._state.online.tables[group]
        if table.ingested >= count:
            return table.ingested
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((group, count, future))
        try:
            return await asyncio.wait_for(future, within_s)
        except TimeoutError as late:
            raise TimeoutError(
                f"{table.ingested} messages were applied in {within_s} s, {count} needed; refused: {self.refused[-3:]}"
            ) from late

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._state.kafka,
                "group.id": "onlinefs",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        assigned: set[str] = set()
        while not self._ended.is_set():
            self._assign(consumer, assigned)
            messages = [one for one in consumer.consume(_BATCH, _POLL_S) if one.error() is None]
            if messages:
                self._late.append((time.monotonic() + self.delay_s, messages))
            elif _at_end(consumer):
                self._rest(consumer)
            while self._late and self._late[0][0] <= time.monotonic():
                self._loop.call_soon_threadsafe(self._apply, self._late.popleft()[1])
        consumer.close()

    def _rest(self, consumer: Consumer) -> None:
        """Ask for nothing for a moment: noida-db answers at once that there is nothing, whatever the wait."""
        assigned = consumer.assignment()
        consumer.pause(assigned)
        self._ended.wait(_REST_S)
        consumer.resume(assigned)

    def _assign(self, consumer: Consumer, assigned: set[str]) -> None:
        topics = {
            group["onlineTopicName"] for group in tuple(self._state.groups.values()) if "onlineTopicName" in group
        }
        for topic in topics - assigned:
            consumer.incremental_assign([TopicPartition(topic, 0, 0)])
        assigned |= topics

    def _apply(self, messages: list[Message]) -> None:
        for message in messages:
            self._applied[message.topic() or ""] = (message.offset() or 0) + 1
            try:
                self._one(message)
            except NotARowError as wrong:
                self.refused.append(f"{message.topic()} {message.offset()}: {wrong}")
        self._state.settle()
        for waiting in tuple(self._waiting):
            group, count, future = waiting
            table = self._state.online.tables.get(group)
            if future.done() or (table is not None and table.ingested >= count):
                self._waiting.remove(waiting)
                if not future.done() and table is not None:
                    future.set_result(table.ingested)

    def _one(self, message: Message) -> None:
        headers: dict[str, Any] = dict(message.headers() or ())
        group = self._group_of(headers, message.topic() or "")
        row = self._row_of(group, message.value() or b"")
        stored = {f["name"]: row[f["name"]] for f in group["features"] if not f["onDemand"]}
        self._check_key(group, stored, message.key())
        if headers.get("storage") != b"online" and "operation" not in headers:
            self._state.offline.upsert(group, [stored])
        table = self._state.online.tables.get(group["id"])
        if table is None or headers.get("storage") in _SKIPPED:
            return
        if headers.get("operation") == b"delete":
            table.delete(table.key_of(stored))
        else:
            table.upsert(stored, if_newer=headers.get("upsertIfNewer") == b"1")
        table.ingested += 1

    def _group_of(self, headers: dict[str, Any], topic: str) -> dict[str, Any]:
        absent = [name for name in _NEEDED if name not in headers]
        unknown = sorted(headers.keys() - _KNOWN)
        if absent or unknown:
            raise NotARowError(f"headers lack {', '.join(absent) or 'none'}, unknown: {', '.join(unknown) or 'none'}")
        group = self._state.groups.get(_integer(headers["featureGroupId"]))
        if group is None or group.get("onlineTopicName") != topic:
            raise NotARowError("header featureGroupId is not this topic's group")
        if _integer(headers["projectId"]) != PROJECT_ID:
            raise NotARowError("header projectId is not this project")
        if _integer(headers["subjectId"]) != 1000 + group["id"]:
            raise NotARowError("header subjectId is not this group's subject")
        ingestion = headers.get("onlineIngestionId")
        if ingestion is not None and _integer(ingestion) not in self._state.ingestions:
            raise NotARowError("header onlineIngestionId is not known")
        if headers.get("operation", b"delete") != b"delete":
            raise NotARowError("header operation is not known")
        return group

    def _row_of(self, group: dict[str, Any], value: bytes) -> dict[str, Any]:
        at = (group["id"], len(group["features"]))
        if at not in self._schemas:
            self._schemas[at] = fastavro.parse_schema(orjson.loads(schema_of(group)))
        told = BytesIO(value)
        try:
            row = fastavro.schemaless_reader(told, self._schemas[at], None)
        except (EOFError, ValueError, IndexError, TypeError, OverflowError) as wrong:
            raise NotARowError(f"is no record of the subject's schema ({type(wrong).__name__})") from wrong
        if told.tell() != len(value):
            raise NotARowError(f"is {len(value)} bytes, a record of the subject's schema ends at {told.tell()}")
        return row  # type: ignore[return-value]

    def _check_key(self, group: dict[str, Any], row: dict[str, Any], key: bytes | None) -> None:
        needed = "".join(str(row.get(name)) for name in _key_of(group))
        if (key or b"").decode(errors="replace") != needed:
            raise NotARowError("the message's key is not the primary key's values")


def _at_end(consumer: Consumer) -> bool:
    """Tell whether all was read: to rest before would break off a fetch that takes longer, again and again."""
    try:
        return all(
            max(consumer.position([one])[0].offset, 0) >= consumer.get_watermark_offsets(one, timeout=1)[1]
            for one in consumer.assignment()
        )
    except KafkaException:  # the broker is away or slow: what there is to read is not known
        return False


def _key_of(group: dict[str, Any]) -> list[str]:
    return sorted(feature["name"] for feature in group["features"] if feature["primary"])


def _integer(text: bytes) -> int:
    return int(text) if text.isdigit() else -1

"""The operators of a Flink job: read, gather, fold, write. They run in Flink's workers.

An operator carries the job's text and opens what it names for itself. State is Flink's, kept
with its checkpoints: records and remembered ids under the bucket and the key, and messages that
are not yet a whole batch. Flink pickles state and what it carries between workers: whoever can
write to the checkpoints can run code in the pipeline. What is ours in it is bytes and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import orjson
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, ProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor

from feature_pipelines.engines.chunks import Chunk, split
from feature_pipelines.engines.flink_packets import (
    SUMMARY,
    Arrivals,
    Packet,
    Summary,
)
from feature_pipelines.engines.flink_plan import Plan
from feature_pipelines.engines.keyed import Bucket
from feature_pipelines.engines.opening import Flow
from feature_pipelines.engines.packets import folded_of_bytes, folded_to_bytes
from feature_pipelines.running import Clock, now_ms
from feature_pipelines.sources import Batch
from headrace.features.windows import WindowedGroup
from headrace.stores.online import encode_keys

#: The event time of the timers that fire when the input has ended: just before Flink's last watermark.
END = 2**63 - 2


def packet_type() -> Any:
    """Return Flink's type of a packet."""
    return Types.TUPLE([Types.STRING(), Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])


def summaries() -> OutputTag:
    """Return the side output of what goes to the writer past the fold."""
    return OutputTag("summaries", packet_type())


class _Parts:
    """Splits batches into packets; made where an operator is opened."""

    def __init__(self, flow: Flow, clock: Clock) -> None:
        self._flow, self._clock, self._tag = flow, clock, summaries()

    def of(self, batch: Batch) -> Iterator[Any]:
        flow = self._flow
        chunks, letters = split(
            flow.stream, flow.groups, batch, self._clock(), buckets=flow.buckets, originals=not flow.is_file
        )
        ((partition, first),) = batch.start.items()
        name = f"{first} {partition}"
        for chunk in chunks:
            yield chunk.key, name, chunk.to_bytes()
        summary = Summary(partition, batch.end[partition], batch.count, len(chunks), letters)
        yield self._tag, (SUMMARY, name, summary.to_bytes())


class Read(ProcessFunction):
    """From the numbers of a file's batches to chunks of its events."""

    def __init__(self, plan: Plan, clock: Clock = now_ms) -> None:
        self._plan, self._clock = plan, clock

    def open(self, runtime_context: RuntimeContext) -> None:
        flow = self._plan.flow()
        self._parts, self._batch = _Parts(flow, self._clock), flow.batch
        (self._partition,) = flow.partitions()
        self._source = flow.open(self._partition, None)

    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Iterator[Any]:
        self._source.seek({self._partition: value * self._batch})
        batch = self._source.poll(self._batch)
        if batch is not None:
            yield from self._parts.of(batch)

    def close(self) -> None:
        self._source.close()


class Nothing(ProcessFunction):
    """Passes nothing on: the end of a source that only keeps a job alive."""

    def process_element(self, value: str, ctx: ProcessFunction.Context) -> Iterator[Packet]:
        return iter(())


class Gather(KeyedProcessFunction):
    """From messages of a topic's partition to chunks of its events.

    Messages wait in Flink's state until they are a batch, or the first has waited for
    `plan.linger_ms`, or the input has ended.
    """

    def __init__(self, plan: Plan, clock: Clock = now_ms) -> None:
        self._plan, self._clock = plan, clock

    def open(self, runtime_context: RuntimeContext) -> None:
        flow = self._plan.flow()
        self._parts, self._batch = _Parts(flow, self._clock), flow.batch
        self._messages = self._plan.messages(flow.stream.names)
        self._held = runtime_context.get_list_state(ListStateDescriptor("held", Types.PICKLED_BYTE_ARRAY()))
        self._counts: dict[int, int] = {}

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        event, partition, offset = value
        count = self._counts.get(partition)
        if count is None:  # the first since this worker began: some may be held from before
            count = len(list(self._held.get() or ()))
        if not count:
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + self._plan.linger_ms)
            timers.register_event_time_timer(END)
        self._held.add((offset, event))
        self._counts[partition] = count + 1
        if count + 1 >= self._batch:
            yield from self._flush(partition)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        yield from self._flush(ctx.get_current_key())

    def _flush(self, partition: int) -> Iterator[Any]:
        held = list(self._held.get() or ())
        self._held.clear()
        self._counts[partition] = 0
        if held:
            yield from self._parts.of(self._messages(partition, held))


class Fold(KeyedProcessFunction):
    """From chunks of a bucket's events to the records they changed and the events that were too late."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def open(self, runtime_context: RuntimeContext) -> None:
        self._flow = self._plan.flow()
        self._groups = {group.name: group for group in self._flow.groups}
        kept = Types.STRING(), Types.PICKLED_BYTE_ARRAY()
        self._records = runtime_context.get_map_state(MapStateDescriptor("records", *kept))
        self._ids = runtime_context.get_map_state(MapStateDescriptor("ids", *kept))

    def process_element(self, value: Packet, ctx: KeyedProcessFunction.Context) -> Iterator[Packet]:
        name, batch, data = value
        chunk = Chunk.of_bytes(bytes(data))
        group = self._groups[chunk.group]
        keys = np.unique(chunk.columns[group.key])
        names = [key.hex() for key in encode_keys(keys)]
        bucket = Bucket.of(self._flow.stream, group, keys, self._recorded(group, names), map(self._remembered, names))
        folded = bucket.add([chunk])
        for key, record in zip(names, folded.records, strict=True):
            self._records.put(key, record.tobytes())
        if self._flow.stream.id:
            for key, ids in zip(names, bucket.remembered(), strict=True):
                self._ids.put(key, orjson.dumps([list(ids), list(ids.values())]))
        yield name, batch, folded_to_bytes(folded)

    def _recorded(self, group: WindowedGroup, names: Sequence[str]) -> np.ndarray:
        empty = group.empty(1).tobytes()
        records = group.layout.read(b"".join(self._records.get(name) or empty for name in names)).copy()
        if not group.layout.known(records).all():
            raise ValueError(
                f"Flink's state of group {group.name!r} is of another declaration, needs "
                f"layout {group.layout.fingerprint:016x}: give the group a new name or begin with a new state"
            )
        return records

    def _remembered(self, name: str) -> dict[int | str, int]:
        kept = self._ids.get(name) if self._flow.stream.id else None
        return dict(zip(*orjson.loads(kept), strict=True)) if kept else {}


class Write(ProcessFunction):
    """Puts what changed and what was refused into the store; one worker writes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def open(self, runtime_context: RuntimeContext) -> None:
        flow = self._plan.flow()
        self._groups, self._open = flow.groups, ExitStack()
        self._sink = self._open.enter_context(flow.sink())
        self._sink.start(self._plan.owner, flow.partitions())
        self._arrivals = Arrivals(self._plan.positions())

    def process_element(self, value: Packet, ctx: ProcessFunction.Context) -> Iterator[int]:
        name, batch, data = value
        if name == SUMMARY:
            summary = Summary.of_bytes(bytes(data))
            self._sink.bury(summary.refused)
            self._sink.report.events += summary.events
            self._sink.put_folded(self._arrivals.summarise(batch, summary))
        else:
            self._sink.put_folded(self._arrivals.add(batch, folded_of_bytes(bytes(data), self._groups)))
        if self._arrivals.whole:
            self._plan.tell(self._arrivals.positions, self._sink.report)
        return iter(())

    def close(self) -> None:
        self._open.close()

"""The bytewax engine: buckets of keys as the state of a dataflow, with bytewax's own recovery.

Each partition is read by one worker from the offset in the recovery store; chunks of events go to
the worker of their bucket; what changed goes to the store as absolute records. At the end of
every epoch bytewax keeps the offsets and the buckets that were touched, in SQLite files. After a
crash it begins again at the last epoch kept: events are folded into the buckets of that epoch,
and records put once more, so that nothing is lost and nothing counts twice.

bytewax pickles the state it keeps and unpickles it when it resumes: whoever can write to the
recovery folder can run code in the pipeline. What is ours in it is bytes and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import Job, Report, Stop
from feature_pipelines.engines.chunks import Chunk, split
from feature_pipelines.engines.keyed import Bucket, Folded
from feature_pipelines.engines.opening import Flow, identity, whole
from feature_pipelines.files import SourceError
from feature_pipelines.running import Clock, now_ms
from feature_pipelines.sinks import Sink
from feature_pipelines.sources import Batch, Source
from headrace.stores.online import StoreUnavailable

EPOCH_S = 10
_STATE_FILES = 2
_IDLE = timedelta(milliseconds=2)


@dataclass(frozen=True, slots=True)
class BytewaxEngine:
    """Runs a job as a dataflow in this process, or as one process of several; see Engine.

    Options beside those that say how the source is read: `recovery`, the folder of the recovery
    store (`bytewax/STREAM` in the store's directory by default); `epoch_s`, seconds between
    two states kept (10); `batch`, the most events read at a time; `buckets`, over how many pieces of
    state a group's keys are spread; `fast`, as for the local engine. Several processes of one machine
    share the work, the store and the recovery folder where each is told all their `addresses`
    (`host:port,host:port`) and which of them it is (`process`, from 0; 0 is started first).
    """

    clock: Clock = now_ms

    def run(self, job: Job, stop: Stop) -> Report:
        """Run until the source ends or `stop()`; see Engine.

        Raises SourceError, LayoutMismatch, StoreUnavailable and ValueError.
        """
        flow = Flow.of(job, "bytewax", ("recovery", "epoch_s", "addresses", "process"))
        addresses = [address for address in job.options.get("addresses", "").split(",") if address]
        process = whole(job.options, "process", 0, least=0)
        folder = Path(job.options.get("recovery") or job.store / "bytewax" / flow.stream.name)
        epoch = timedelta(seconds=whole(job.options, "epoch_s", EPOCH_S))
        with flow.sink() as sink:
            here = flow.partitions()
            sink.start(f"bytewax:{identity(folder, flow.buckets)}", here)
            if process == 0 and not any(folder.glob("*.sqlite3")):
                init_db_dir(folder, _STATE_FILES)
            partitions = _Partitions(flow, stop, tuple(here), tuple(sink.partitions()))
            graph = _dataflow(flow, sink, self.clock, partitions)
            try:
                recovery = RecoveryConfig(str(folder))
                cluster_main(graph, addresses, process, epoch_interval=epoch, recovery_config=recovery)
            except BytewaxRuntimeError as failed:
                raise _cause(failed) from failed
            return sink.report


ENGINE = BytewaxEngine()


def _cause(failed: BaseException) -> BaseException:
    at = failed.__cause__ or failed.__context__
    return at if isinstance(at, (SourceError, StoreUnavailable, ValueError)) else failed


def _dataflow(flow: Flow, sink: Sink, clock: Clock, partitions: _Partitions) -> Dataflow:
    graph = Dataflow(f"headrace_{flow.stream.name}")

    def parted(batch: Batch) -> list[Any]:
        chunks, letters = split(
            flow.stream, flow.groups, batch, clock(), buckets=flow.buckets, originals=not flow.is_file
        )
        sink.report.events += batch.count
        return [*((chunk.key, chunk) for chunk in chunks), *([letters] if letters else [])]

    read = op.input("read", graph, partitions)
    parts = op.branch("refused", op.flat_map("split", read, parted), lambda item: isinstance(item, list))
    op.output("letters", parts.trues, _Out(lambda items: _bury(sink, items)))
    folded = op.stateful_batch("fold", parts.falses, lambda state: _State(flow, state or b""))
    op.output("store", folded, _Out(lambda items: _put(sink, items)))
    return graph


@dataclass(frozen=True, slots=True)
class _Partitions(FixedPartitionedSource[Batch, int | None]):
    flow: Flow
    stop: Stop
    here: tuple[str, ...]  # those of the job's source
    known: tuple[str, ...]  # all that were ever begun: bytewax asks for each that it keeps a state of

    def list_parts(self) -> list[str]:
        return list(self.known)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _Partition:
        source = self.flow.open(for_part, resume_state) if for_part in self.here else None
        return _Partition(self, for_part, resume_state, source)


@dataclass(slots=True)
class _Partition(StatefulSourcePartition[Batch, int | None]):
    of: _Partitions
    name: str
    at: int | None
    source: Source | None  # None where the job's source does not have it: a file of an earlier run
    waits: bool = False

    def next_batch(self) -> list[Batch]:
        if self.source is None:
            raise StopIteration
        batch = None if self.of.stop() else self.source.poll(self.of.flow.batch)
        if batch is not None:
            self.at = batch.end[self.name]
        elif self.of.stop() or self.source.ended:
            raise StopIteration
        self.waits = batch is None
        return [batch] if batch is not None else []

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + _IDLE if self.waits else None

    def snapshot(self) -> int | None:
        return self.at

    def close(self) -> None:
        if self.source is not None:
            self.source.close()


@dataclass(slots=True)
class _State(StatefulBatchLogic[Chunk, Folded, bytes]):
    """A bucket, made from its bytes when its first chunk says which group it is of."""

    flow: Flow
    held: bytes
    bucket: Bucket | None = None

    def on_batch(self, values: list[Chunk]) -> tuple[Iterable[Folded], bool]:
        if self.bucket is None:
            group = next(group for group in self.flow.groups if group.name == values[0].group)
            self.bucket, self.held = Bucket(self.flow.stream, group, self.held), b""
        return [self.bucket.add(values)], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        return self.bucket.to_bytes() if self.bucket else self.held


@dataclass(frozen=True, slots=True)
class _Out(DynamicSink[Any]):
    write: Callable[[list[Any]], None]

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Written:
        return _Written(self.write)


@dataclass(frozen=True, slots=True)
class _Written(StatelessSinkPartition[Any]):
    write: Callable[[list[Any]], None]

    def write_batch(self, items: list[Any]) -> None:
        self.write(items)


def _bury(sink: Sink, items: Sequence[list[DeadLetter]]) -> None:
    sink.bury([letter for letters in items for letter in letters])


def _put(sink: Sink, items: Sequence[tuple[str, Folded]]) -> None:
    sink.put_folded([folded for _, folded in items])

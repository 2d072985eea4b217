"""A job's source as a stream of Spark's: rows of chunks, decoded where they are read.

A row is one chunk of events for one bucket, or the events of one batch that were refused, with the
partition and offset it begins at. Offsets are those of the source's partitions; Spark keeps them
in its checkpoint and reads a range again where a micro-batch has to be run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadLimit, ReadMaxRows, SupportsTriggerAvailableNow

from feature_pipelines.engines.chunks import split
from feature_pipelines.engines.opening import Flow, job_of, whole
from feature_pipelines.engines.packets import letters_to_bytes
from feature_pipelines.running import now_ms
from feature_pipelines.sources import Batch

FORMAT = "headrace"
ROW = "bucket string, part string, at long, chunk binary"
#: What begins the name of the bucket that refused events are in.
REFUSED = "refused/"
#: Events of a micro-batch where nobody says otherwise; each has a cost of its own, about half a second.
MOST = 131_072
_SCHEMA = pa.schema([("bucket", pa.string()), ("part", pa.string()), ("at", pa.int64()), ("chunk", pa.binary())])


#: The engine's own options; those that begin with `spark.` are Spark's.
OPTIONS = ("checkpoint", "trigger_s", "most", "connector", "most_files")


@cache
def flow_of(text: str) -> Flow:
    """Resolve a job that was told as text, once in each process."""
    return Flow.of(job_of(text), "spark", OPTIONS)


class HeadraceSource(DataSource):
    """Registers a job's source with Spark under FORMAT; its option `job` is the job as text."""

    @classmethod
    def name(cls) -> str:
        """Return the format's name."""
        return FORMAT

    def schema(self) -> str:
        """Return what a row is."""
        return ROW

    def streamReader(self, schema: Any) -> DataSourceStreamReader:  # noqa: N802  Spark's name
        """Return the reader of the stream."""
        return _Reader(self.options["job"])


@dataclass
class _Range(InputPartition):
    """Consecutive events of one partition, read by one task."""

    name: str
    start: int
    end: int


class _Reader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    def __init__(self, job: str) -> None:
        self._flow = flow_of(job)
        self._most = whole(self._flow.job.options, "most", MOST)
        self._target: dict[str, int] | None = None

    def initialOffset(self) -> dict[str, int]:  # noqa: N802
        return self._flow.begins()

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        return ReadMaxRows(self._most)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        self._target = self._flow.ends()

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:  # noqa: N802
        ends = self._flow.ends() if self._target is None else self._target
        if not isinstance(limit, ReadMaxRows):
            return {**start, **ends}
        share = max(1, limit.max_rows // max(1, len(ends)))
        read = {name: start.get(name, 0) for name in ends}
        return {**start, **{name: max(at, min(ends[name], at + share)) for name, at in read.items()}}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        if self._flow.is_file:  # a file that was changed goes by another name: what was begun is not there any more
            end = {name: end[name] for name in start}
        # A file may be read in several places at once; each of a topic's partitions wants a client of its own.
        step = self._flow.batch if self._flow.is_file else 2**62
        return [
            _Range(name, at, min(at + step, upto))
            for name, upto in end.items()
            for at in range(start.get(name, 0), upto, step)
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, _Range)
        flow = self._flow
        source = flow.open(partition.name, partition.start, to_end=True)
        at = partition.start
        try:
            while at < partition.end:
                batch = source.poll(min(flow.batch, partition.end - at))
                if batch is not None:
                    at = batch.end[partition.name]
                    yield rows_of(flow, until(batch, partition.end))
                elif source.ended:
                    return
        finally:
            source.close()


def until(batch: Batch, end: int) -> Batch:
    """Return the events of a batch of one partition whose offsets are below `end`.

    Of a topic with offsets that hold no events a batch may reach further than it was asked to.
    """
    count = sum(batch.origin(at)[1] < end for at in range(batch.count))
    if count == batch.count:
        return batch
    return replace(
        batch,
        count=count,
        raw={name: values[:count] for name, values in batch.raw.items()},
        unreadable={at: why for at, why in batch.unreadable.items() if at < count},
    )


def rows_of(flow: Flow, batch: Batch, *, originals: bool | None = None) -> pa.RecordBatch:
    """Decode a batch of one partition into rows; `originals` as in `split`, by the kind of the source by default."""
    carried = not flow.is_file if originals is None else originals
    chunks, letters = split(flow.stream, flow.groups, batch, now_ms(), buckets=flow.buckets, originals=carried)
    rows = [(chunk.key, chunk.partition, int(chunk.offsets[0]), chunk.to_bytes()) for chunk in chunks]
    if letters:
        first = letters[0]
        rows.append((REFUSED + first.partition, first.partition, first.offset, letters_to_bytes(letters)))
    return pa.RecordBatch.from_pylist([dict(zip(_SCHEMA.names, row, strict=True)) for row in rows], schema=_SCHEMA)

"""The Spark engine: Structured Streaming with buckets of keys as its state.

Chunks of events are shuffled to the task of their bucket, which folds them into the bucket's
records in order of partition and offset; the driver puts what changed into the store as absolute
records. Spark's checkpoint keeps offsets and state by micro-batch: after a crash the
micro-batch that was not done is run again on the state before it, and its records are put once
more, so that nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from feature_pipelines.engines import Job, Report, Stop
from feature_pipelines.engines.chunks import Chunk
from feature_pipelines.engines.keyed import Bucket
from feature_pipelines.engines.opening import Flow, identity, text_of, whole
from feature_pipelines.engines.packets import folded_of_bytes, folded_to_bytes, letters_of_bytes
from feature_pipelines.engines.spark_native import is_native, native_rows
from feature_pipelines.engines.spark_source import FORMAT, OPTIONS, REFUSED, HeadraceSource, flow_of
from feature_pipelines.files import SourceError
from feature_pipelines.sinks import Sink

_OUT = "bucket string, changed binary"
_STATE = "held binary"
_WAIT_S = 0.2
#: What Spark says where a Python process took more than its 10 s to start; the query is then started again.
_TOO_SLOW, _STARTS = "failed to connect back", 3
_PREFIX = "spark."
_DEFAULTS = {
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
}


class SparkEngine:
    """Runs a job as a streaming query whose driver is this process; see Engine.

    The source is a file, a topic, or a folder of Parquet files, which is watched for more unless the job
    is done at the end. A topic is read through confluent-kafka, or with `connector` set to kafka through
    Spark's own connector, where `spark.jars.packages` brings it; settings of the Kafka client are
    then those of the Java client.

    Options beside those that say how the source is read: `checkpoint`, the folder of Spark's
    checkpoint (`spark/STREAM` in the store's directory by default; on a cluster one that all machines
    reach); `trigger_s`, seconds between micro-batches (as soon as possible by default); `most`, the
    most events of a micro-batch, and `most_files`, the most files of a folder (1); `batch`, `buckets`
    and `fast` as for other engines; and every setting of Spark by its own name, which begins
    with `spark.`.
    """

    def run(self, job: Job, stop: Stop) -> Report:
        """Run until the source ends or `stop()`; see Engine.

        Raises SourceError, also with what Spark said where the query failed, LayoutMismatch,
        StoreUnavailable and ValueError.
        """
        flow = Flow.of(job, "spark", OPTIONS)
        folder = Path(job.options.get("checkpoint") or job.store / "spark" / flow.stream.name)
        with flow.sink() as sink, session(job) as spark:
            sink.start(f"spark:{identity(folder, flow.buckets)}", () if is_native(flow) else flow.partitions())
            for left in reversed(range(_STARTS)):
                query = _query(spark, flow, sink, folder)
                try:
                    while not stop() and not query.awaitTermination(_WAIT_S):
                        pass
                    break
                except StreamingQueryException as failed:
                    if not left or _TOO_SLOW not in str(failed):
                        raise SourceError(f"the Spark query failed: {_last_words(failed)}") from failed
                finally:
                    query.stop()
            return sink.report


ENGINE = SparkEngine()


@contextmanager
def session(job: Job) -> Iterator[SparkSession]:
    """Yield the session there is, or make one and stop it with the block."""
    given = SparkSession.getActiveSession()
    if given is not None:
        yield given
        return
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise ValueError("engine 'spark' needs Java 17, which is not there: apt-get install openjdk-17-jre-headless")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"headrace {job.stream}")
    settings = _DEFAULTS | {name: value for name, value in job.options.items() if name.startswith(_PREFIX)}
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def _last_words(failed: StreamingQueryException) -> str:
    said = [line.strip() for line in str(failed).splitlines() if line.strip()]
    of_python = [line for line in said if re.match(r"[\w.]+(Error|Exception|Mismatch|Unavailable): ", line)]
    return of_python[-1] if of_python else said[0]


def _query(spark: SparkSession, flow: Flow, sink: Sink, folder: Path) -> StreamingQuery:
    text = text_of(flow.job)
    if is_native(flow):
        rows = native_rows(spark, flow)
    else:
        spark.dataSource.register(HeadraceSource)
        rows = spark.readStream.format(FORMAT).option("job", text).load()
    folded = rows.groupBy("bucket").applyInPandasWithState(
        _folding(text), outputStructType=_OUT, stateStructType=_STATE, outputMode="update", timeoutConf="NoTimeout"
    )
    writer = folded.writeStream.outputMode("update").option("checkpointLocation", str(folder / "checkpoint"))
    if flow.job.to_end or (flow.is_file and not is_native(flow)):
        writer = writer.trigger(availableNow=True)
    elif "trigger_s" in flow.job.options:
        writer = writer.trigger(processingTime=f"{whole(flow.job.options, 'trigger_s', 1)} seconds")
    return writer.foreachBatch(lambda changed, _: _put(sink, flow, changed)).start()


def _folding(text: str) -> Any:
    """Return what folds one bucket's rows in a worker, from the job as text."""

    def fold(key: tuple[str], frames: Iterator[pd.DataFrame], state: Any) -> Iterator[pd.DataFrame]:
        flow, name = flow_of(text), key[0]
        rows = pd.concat(list(frames)).sort_values(["part", "at"])
        if name.startswith(REFUSED):
            yield pd.DataFrame({"bucket": name, "changed": rows["chunk"]})
            return
        chunks = [Chunk.of_bytes(chunk) for chunk in rows["chunk"]]
        group = next(group for group in flow.groups if group.name == chunks[0].group)
        bucket = Bucket(flow.stream, group, bytes(state.get[0]) if state.exists else b"")
        folded = bucket.add(chunks)
        state.update((bucket.to_bytes(),))
        yield pd.DataFrame({"bucket": [name], "changed": [folded_to_bytes(folded)]})

    return fold


def _put(sink: Sink, flow: Flow, changed: DataFrame) -> None:
    rows = changed.toArrow()
    folded = []
    for name, data in zip(rows.column("bucket").to_pylist(), rows.column("changed").to_pylist(), strict=True):
        if name.startswith(REFUSED):
            letters, _ = letters_of_bytes(data)
            sink.report.events += len(letters)
            sink.bury(letters)
        else:
            folded.append(folded_of_bytes(data, flow.groups))
    sink.put_folded(folded)
    sink.flush()  # before the micro-batch counts as done
    sink.report.events += sum(part.events for part in folded if part.group == flow.groups[0].name)

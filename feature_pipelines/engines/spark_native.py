"""Sources that Spark reads itself: a folder that Parquet files arrive in, and Kafka through Spark's own connector.

Both give the same rows as `spark_source`, decoded in Spark's tasks. A file's events are read in
order of its rows, by row number; of files that come in one micro-batch those come first whose names do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from feature_pipelines.addresses import options_of, path_of
from feature_pipelines.engines.opening import Flow, text_of, whole
from feature_pipelines.engines.spark_source import MOST, ROW, flow_of, rows_of
from feature_pipelines.files import as_numpy
from feature_pipelines.formats import Reader, reader_of
from feature_pipelines.sources import Batch

KAFKA = "kafka"
_FILES = 1
_PLACE = ["part ", "at "]  # no column of a stream is named with a space at its end


def is_native(flow: Flow) -> bool:
    """Whether Spark reads the source itself: a folder, or a topic where `connector` is kafka."""
    path = path_of(flow.job.source)
    return path.is_dir() if path is not None else flow.job.options.get("connector") == KAFKA


def native_rows(spark: SparkSession, flow: Flow) -> DataFrame:
    """Return the rows of a source that Spark reads itself."""
    path, text = path_of(flow.job.source), text_of(flow.job)
    if path is None:
        return _topic(spark, flow).mapInArrow(_per_batch(text, _messages), ROW)
    return _folder(spark, flow, path).mapInArrow(_per_batch(text, _file_rows), ROW)


def _folder(spark: SparkSession, flow: Flow, path: Path) -> DataFrame:
    files = whole(flow.job.options, "most_files", _FILES)
    schema = spark.read.parquet(str(path)).schema
    events = spark.readStream.schema(schema).option("maxFilesPerTrigger", files).parquet(str(path))
    place = [
        sql.col(f"_metadata.{name}").alias(at) for name, at in zip(("file_path", "row_index"), _PLACE, strict=True)
    ]
    return events.select(*(name for name in flow.stream.names if name in schema.names), *place)


def _topic(spark: SparkSession, flow: Flow) -> DataFrame:
    job = flow.job
    servers, _, topic = job.source.removeprefix("kafka://").partition("/")
    told = {
        "kafka.bootstrap.servers": servers,
        "subscribe": topic,
        "startingOffsets": "earliest",
        "maxOffsetsPerTrigger": str(whole(job.options, "most", MOST)),
        "failOnDataLoss": str(job.options.get("accept_gap") != "true").lower(),
        **{f"kafka.{name}": value for name, value in job.kafka.items()},
    }
    messages = spark.readStream.format(KAFKA).options(**told).load()
    part = sql.concat_ws("/", sql.col("topic"), sql.col("partition"))
    return messages.select("value", part.alias(_PLACE[0]), sql.col("offset").alias(_PLACE[1]))


def _per_batch(text: str, read: Callable[[Flow, pa.Table], tuple[Mapping[str, Any], Mapping[int, str], Any]]) -> Any:
    def rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        flow = flow_of(text)
        for arrived in batches:
            whole_batch = pa.Table.from_batches([arrived])
            for name in whole_batch.column(_PLACE[0]).unique().to_pylist():
                part = whole_batch.filter(pa.compute.equal(whole_batch.column(_PLACE[0]), name))
                yield rows_of(flow, _batch(name, part, *read(flow, part)), originals="value" in part.column_names)

    return rows


def _batch(name: str, part: pa.Table, raw: Mapping[str, Any], unreadable: Mapping[int, str], original: Any) -> Batch:
    offsets = part.column(_PLACE[1]).to_pylist()
    return Batch(
        count=part.num_rows,
        raw=raw,
        start={name: offsets[0]},
        end={name: offsets[-1] + 1},
        unreadable=unreadable,
        original=original,
        origin=lambda event: (name, offsets[event]),
    )


def _file_rows(flow: Flow, part: pa.Table) -> tuple[Mapping[str, Any], Mapping[int, str], Any]:
    events = part.drop_columns(_PLACE)
    raw = {name: as_numpy(events.column(name)) for name in events.column_names}
    return raw, {}, lambda at: orjson.dumps(events.slice(at, 1).to_pylist()[0], default=str)


def _messages(flow: Flow, part: pa.Table) -> tuple[Mapping[str, Any], Mapping[int, str], Any]:
    values = part.column("value").to_pylist()
    raw, unreadable = _reader(flow).read(values)
    return raw, unreadable, lambda at: values[at] or b""


def _reader(flow: Flow) -> Reader:
    options = options_of(flow.job)
    return reader_of(options.format, flow.stream.names, options.schema, options.registry)

"""What an address stands for: `kafka://host:port/topic`, `file:PATH` or a path; as a source, and as dead letters."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_pipelines.dead_letters import DeadLetterFile, DeadLetters
from feature_pipelines.engines import Job
from feature_pipelines.files import SourceError
from feature_pipelines.running import Stop, Tell, never, silent
from feature_pipelines.sources import FileSource, Source
from headrace.features.streams import Stream

_FILE, _KAFKA = "file:", "kafka:"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read: the order of a file, or the messages of a topic.

    `format` is json or avro, Avro with a `schema` file or the URL of a `registry`.
    `group` shares the partitions with other processes of its name. Without a group this process reads
    `partitions`, or all that the topic has now, whatever others do. `wait_s` is how long a broker is
    awaited at the start, unless `stop()` becomes true. With `accept_gap` events that the topic no
    longer holds are given up. With `to_end` the source ends where the topic does at the start.
    """

    order: str = "time"
    format: str = "json"
    schema: Path | None = None
    registry: str = ""
    group: str = ""
    partitions: tuple[int, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 60.0
    poll_s: float = 0.1
    accept_gap: bool = False
    to_end: bool = False
    tell: Tell = silent
    stop: Stop = never


#: The options of a job that say how its source is read, whatever the engine.
READING = ("order", "format", "schema", "registry", "group", "wait", "accept_gap")


def options_of(job: Job, tell: Tell = silent, stop: Stop = never) -> SourceOptions:
    """Return how a job's source is read; an empty group is none. Raises ValueError for a wait that is no number."""
    given = job.options
    try:
        wait_s = float(given.get("wait", "60"))
    except ValueError:
        raise ValueError(f"option wait is {given['wait']!r}, needs seconds") from None
    return SourceOptions(
        order=given.get("order", "time"),
        format=given.get("format", "json"),
        schema=Path(given["schema"]) if given.get("schema") else None,
        registry=given.get("registry", ""),
        group=given.get("group", f"headrace-{job.application}-{job.stream}"),
        settings=job.kafka,
        wait_s=wait_s,
        accept_gap=given.get("accept_gap") == "true",
        to_end=job.to_end,
        tell=tell,
        stop=stop,
    )


def path_of(address: str) -> Path | None:
    """Return the file an address names, None where it names a topic.

    >>> path_of("file:events.parquet"), path_of("kafka://127.0.0.1:9092/payments")
    (PosixPath('events.parquet'), None)
    """
    return None if address.startswith(_KAFKA) else Path(address.removeprefix(_FILE))


def open_source(address: str, stream: Stream, options: SourceOptions) -> Source:
    """Open a stream's events; raises SourceError where they cannot be read."""
    path = path_of(address)
    if path is not None:
        return FileSource(path, stream, order=options.order)
    kafka, formats = _needed("feature_pipelines.kafka"), _needed("feature_pipelines.formats")
    dtypes = {column.name: column.dtype for column in stream.columns}
    reader = formats.reader_of(options.format, stream.names, options.schema, options.registry, dtypes)
    source: Source = kafka.KafkaSource(kafka.KafkaAddress.of(address), reader, options)
    return source


def open_letters(address: str, store: Path, stream: Stream, options: SourceOptions) -> DeadLetters:
    """Open where dead letters go, beside the store where the address is empty; raises SourceError."""
    if not address:
        return DeadLetterFile.beside(store, stream.name)
    path = path_of(address)
    if path is not None:
        return DeadLetterFile(path)
    kafka = _needed("feature_pipelines.kafka")
    letters: DeadLetters = kafka.KafkaDeadLetters(
        kafka.KafkaAddress.of(address), options.settings, options.tell, options.wait_s, options.stop
    )
    return letters


def client_settings(file: Path | None, given: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the Kafka client; see `feature_pipelines.kafka.kafka_settings`."""
    settings: dict[str, str] = _needed("feature_pipelines.kafka").kafka_settings(file, given, environment)
    return settings


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as absent:
        raise SourceError(
            f"Kafka needs {absent.name}, which is not installed: pip install 'headrace[kafka]'"
        ) from absent

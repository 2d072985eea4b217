"""A history of events into Hopsworks: each stream's events as rows of its feature group, for training.

They go to the offline store alone: the messages carry `storage=offline`, and the feature group's
materialization job moves them from its topic to its table. An event is known by its id and time, so
a history that is written twice is there once. What cannot be decoded, and what has no id, is left
out and counted. Instants are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_pipelines.histories import Columns, History, files_of
from feature_pipelines.hopsworks.encoding import Encoder
from feature_pipelines.hopsworks.producer import RowProducer
from feature_pipelines.hopsworks.targets import OFFLINE, Target, targets_of
from headrace.features.streams import Stream
from headrace.hopsworks.declared import Declared, FeatureGroup
from headrace.hopsworks.session import HopsworksError, Session


@dataclass(slots=True)
class Written:
    """What became of one stream's events: `nameless` have no id, `refused` cannot be decoded."""

    feature_group: FeatureGroup
    rows: int = 0
    nameless: int = 0
    refused: int = 0
    first_reason: str = ""

    def notes(self) -> list[str]:
        """Say which events were left out."""
        stream, said = _stream(self.feature_group), []
        if self.refused:
            said.append(f"{self.refused} events of {stream.name} were left out, the first because {self.first_reason}")
        if self.nameless:
            said.append(
                f"{self.nameless} events of {stream.name} were left out, they have no {stream.id}: "
                "Hopsworks knows a row by it"
            )
        return said


def write_events(
    session: Session,
    declared: Declared,
    history: Path,
    *,
    now_ms: int,
    wait_s: float = 60.0,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[Written]:
    """Write the events of files into the feature groups of their streams; returns once each is acknowledged.

    `history` is a file, a folder or a pattern; `progress` is told how many rows more were taken in. Raises SourceError
    for what cannot be read, HopsworksError where a feature group is absent, SchemaMismatch and StoreUnavailable.
    """
    for group in declared.events:
        if not _stream(group).id:
            raise HopsworksError(
                f"stream {group.of.name!r} declares no id, its feature group needs one as the primary key"
            )
    targets = targets_of(session, declared.events, storage=OFFLINE)
    return [_write(target, history, now_ms, wait_s, progress) for target in targets]


def materialize(session: Session, declared: Declared, *, wait: bool) -> None:
    """Start the jobs that move events from their topics to the offline tables, and await them if `wait`.

    A job that runs already is left alone. Raises HopsworksError.
    """
    for group in declared.events:
        with session.quietly(f"materialize {group.name}"):
            found = session.feature_store.get_feature_group(group.name, group.version)
            found.materialization_job.run(await_termination=wait)


def _write(target: Target, history: Path, now_ms: int, wait_s: float, progress: Callable[[int], None]) -> Written:
    done, encoder = Written(target.feature_group), Encoder.of(target.feature_group, target.schema)
    stream = _stream(target.feature_group)
    source = History(stream, files_of(history), ())
    producer = RowProducer(target.servers, [target.topic], target.kafka, wait_s=wait_s)
    try:
        for columns in _named(source, done, now_ms):
            rows, keys = int(columns[stream.time].size), map(str, columns[stream.id].tolist())
            producer.send(target.topic, keys, encoder.encode(columns, rows), target.headers)
            producer.confirm()
            done.rows += rows
            progress(rows)
    finally:
        producer.close()
    done.refused, done.first_reason = source.refused, source.first_reason
    return done


def _named(source: History, done: Written, now_ms: int) -> Iterator[Columns]:
    stream = source.stream
    for columns, _ in source.read(now_ms, lambda letters: None):
        ids = columns[stream.id]
        named = np.ones(ids.size, dtype=bool) if ids.dtype != object else ids != np.array(None)
        done.nameless += int(ids.size - np.count_nonzero(named))
        yield columns if named.all() else {name: values[named] for name, values in columns.items()}


def _stream(group: FeatureGroup) -> Stream:
    if not isinstance(group.of, Stream):
        raise ValueError(f"feature group {group.name!r} is of records of {group.of.name!r}, needs that of a stream")
    return group.of

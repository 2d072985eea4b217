"""Events of an application read back from Hopsworks' offline store, and the rows to learn from.

Events come by the SDK through Hopsworks' query service, as Arrow batches, and are kept as Parquet in
an offline store of ours: what is in memory is one part, however long the history is. Training frames
are computed from these events by `headrace.stores.offline.training_frame`, point-in-time correct as
serving was; never from the readable columns of a feature group, which hold a row's newest state only.
Instants are epoch milliseconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.application import Application
from headrace.features.instants import EPOCH
from headrace.hopsworks.declared import Declared, FeatureGroup
from headrace.hopsworks.session import HopsworksError, Session
from headrace.stores.offline import OfflineStore

#: Rows of one part; the most that is in memory while events are read.
ROWS = 1 << 20
#: Arrow types of declared features, by their type in Hopsworks.
_TYPES = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "timestamp": pa.timestamp("ms"),
}

Columns = Mapping[str, np.ndarray]


def pull_events(
    session: Session,
    declared: Declared,
    store: OfflineStore,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Append every stream's events from Hopsworks to `store` and return how many, by stream.

    Events of [since_ms, until_ms) where given. `progress` is told how many events have come. Raises
    HopsworksError where a feature group is absent, cannot be read, or has other columns than declared.
    """
    counts = dict.fromkeys((group.of.name for group in declared.events), 0)
    for group in declared.events:
        for part in _parts(_batches(session, group, since_ms, until_ms)):
            columns = _between(group, columns_of(group, part), since_ms, until_ms)
            rows = columns[group.event_time].size
            if rows:
                store.append(group.of.name, columns)
                counts[group.of.name] += rows
            if progress:
                progress(rows)
    return counts


def history_of(declared: Declared, store: OfflineStore) -> dict[str, dict[str, np.ndarray]]:
    """Return each stream's events in order of time, as `training_frame` takes them.

    Events arrive at Hopsworks in whatever order, so order of arrival is not known there: events of
    one instant keep the order they are stored in. Raises HopsworksError for a stream without events.
    """
    history = {}
    for group in declared.events:
        try:
            columns = store.events(group.of.name)
        except LookupError as none:
            raise HopsworksError(
                f"the offline store of Hopsworks has no events in {group.name}, needs a history to learn from: "
                f"write one with headrace hopsworks events {declared.application} --history PATH"
            ) from none
        order = np.argsort(columns[group.event_time], kind="stable")
        history[group.of.name] = {name: values[order] for name, values in columns.items()}
    return history


def rows_to_learn(app: Application, history: Mapping[str, Columns]) -> dict[str, np.ndarray]:
    """Return the first stream's events, each with its label; NaN where none has come.

    Labels of another stream are found by the id that both streams declare, the newest of one id
    wins. Raises ValueError where either has none.
    """
    own, rows = app.streams[0], dict(history[app.streams[0].name])
    if app.label in rows:
        return rows
    stream = app.stream(app.label_stream)
    if not own.id or not stream.id:
        raise ValueError(
            f"streams {own.name!r} and {stream.name!r} have ids {own.id!r} and {stream.id!r}, "
            "labels are found by the id of both: declare it"
        )
    labels = history[stream.name]
    known = dict(zip(labels[stream.id].tolist(), np.asarray(labels[app.label], dtype=np.float64), strict=True))
    known.pop(None, None)
    found = (known.get(row, np.nan) for row in rows[own.id].tolist())
    return {**rows, app.label: np.fromiter(found, dtype=np.float64, count=rows[own.time].size)}


def columns_of(group: FeatureGroup, table: pa.Table) -> dict[str, np.ndarray]:
    """Return the declared columns of a table read from Hopsworks, instants as int64 epoch milliseconds.

    Numbers with nulls are float64 with NaN. Raises HopsworksError for a column that is absent, of
    another type, or an instant that is null.
    """
    absent = [feature.name for feature in group.features if feature.name not in table.column_names]
    if absent:
        raise HopsworksError(
            f"{group.name} has columns {', '.join(table.column_names)}, "
            f"needs {', '.join(absent)}: headrace hopsworks plan shows the difference"
        )
    columns = {}
    for feature in group.features:
        column = _cast(group, feature.name, table.column(feature.name), _TYPES[feature.type])
        if feature.name == group.event_time and column.null_count:
            raise HopsworksError(f"{group.name} holds {column.null_count} rows without {feature.name}, needs it")
        columns[feature.name] = column.to_numpy()
    return columns


def _cast(group: FeatureGroup, name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        cast = column.cast(kind, safe=not pa.types.is_timestamp(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as unlike:
        raise HopsworksError(f"{name} of {group.name} is {column.type} in Hopsworks, needs {kind}") from unlike
    if pa.types.is_timestamp(kind):
        return cast.cast(pa.int64())
    return cast.cast(pa.float64()) if cast.null_count and pa.types.is_boolean(kind) else cast


def _batches(
    session: Session, group: FeatureGroup, since_ms: int | None, until_ms: int | None
) -> Iterator[pa.RecordBatch]:
    doing = f"read the events of {group.name}"
    with session.asking(doing), _unlogged():
        try:
            with _query(session, group, since_ms, until_ms).read_batches() as batches:
                yield from batches
        # What the SDK raises where the cluster has no query service, and where that does not answer at first.
        except (ValueError, AttributeError) as unserved:
            why = unserved if isinstance(unserved, ValueError) else "no answer"
            raise HopsworksError(
                f"cannot {doing}: {why}; needs the query service (Arrow Flight, port 5005) "
                "to be enabled and within reach"
            ) from unserved


def _query(session: Session, group: FeatureGroup, since_ms: int | None, until_ms: int | None) -> Any:
    # The SDK filters instants by whole seconds.
    found = session.feature_store.get_feature_group(group.name, group.version)
    if found is None:
        raise HopsworksError(
            f"there is no feature group {group.name} version {group.version}, needs it: run headrace hopsworks apply"
        )
    query = found.select([feature.name for feature in group.features])
    time: Any = found.get_feature(group.event_time)
    if since_ms is not None:
        query = query.filter(time >= EPOCH + timedelta(seconds=since_ms // 1000))
    if until_ms is not None:
        query = query.filter(time < EPOCH + timedelta(seconds=-(-until_ms // 1000)))
    return query


@contextmanager
def _unlogged() -> Iterator[None]:
    # The SDK's client logs the trace of every fault, which is told as one sentence here.
    log = logging.getLogger("hsfs.core.arrow_flight_client")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(part.num_rows for part in held) >= ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _between(
    group: FeatureGroup, columns: dict[str, np.ndarray], since_ms: int | None, until_ms: int | None
) -> dict[str, np.ndarray]:
    times = columns[group.event_time]
    kept = np.ones(times.size, dtype=bool)
    if since_ms is not None:
        kept &= times >= since_ms
    if until_ms is not None:
        kept &= times < until_ms
    return columns if kept.all() else {name: values[kept] for name, values in columns.items()}

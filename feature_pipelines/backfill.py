"""Backfill: the features of any rows at any past instant, from files of events.

The spine is a file of keys and times with any further columns; each row comes back with
the values that serving would have given at its time. Missing stays missing (null) unless
the declared values are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_pipelines.duplicates import counted_once
from feature_pipelines.events import decode
from feature_pipelines.files import SourceError, as_numpy, open_events
from headrace.application import Application
from headrace.features.rows import RowsError, nearest
from headrace.features.streams import Stream
from headrace.features.view import FeatureView
from headrace.stores.offline import TrainingFrame, training_frame

Progress = Callable[[int], None]


@dataclass(slots=True)
class Backfill:
    """What a backfill made and what must be said about it."""

    rows: int
    events: dict[str, int]
    notes: list[str] = field(default_factory=list)


def backfill(
    app: Application,
    events: Path,
    spine: Path,
    out: Path,
    *,
    now_ms: int,
    fill: bool = False,
    progress: Progress | None = None,
) -> Backfill:
    """Write the spine's rows with the view's features to `out` (Parquet or CSV).

    Raises SourceError for a file that cannot be read or written as its ending says, and
    RowsError for a spine without the view's time or without any key.
    """
    _check_ending(out)
    done = Backfill(0, {})
    history = read_history(app, events, now_ms, done.notes)
    done.events = {name: len(next(iter(columns.values()))) for name, columns in history.items()}
    table = read_table(spine)
    frame = frame_of(app.view, table, history, done.notes, progress)
    write_frame(frame, table, out, fill)
    done.rows = table.num_rows
    return done


def read_history(app: Application, path: Path, now_ms: int, notes: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return every stream of the application that the file has the columns of: decoded, in file order, each id once."""
    history: dict[str, dict[str, np.ndarray]] = {}
    for stream in app.streams:
        needed = {group.value for group in app.groups_of(stream.name)}
        file = open_events(path, stream.names)
        lacking = sorted((needed | {group.key for group in app.groups_of(stream.name)}) - set(file.columns))
        if lacking:
            groups = ", ".join(group.name for group in app.groups_of(stream.name))
            notes.append(f"{path.name} has no {', '.join(lacking)}: every value of {groups} is missing")
            file.close()
            continue
        if absent := [n for n in stream.names if n in _last_of(app, stream.name) and n not in file.columns]:
            notes.append(f"{path.name} has no {', '.join(absent)}: null in every event of {stream.name}")
        history[stream.name] = _decoded(stream, file, now_ms, notes)
        file.close()
    return history


def _last_of(app: Application, stream: str) -> set[str]:
    return {name for group in app.groups_of(stream) for name in group.last}


def _decoded(stream: Stream, file, now_ms: int, notes: list[str]) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    raw, unreadable = file.read(np.arange(file.count))
    events = decode(stream, raw, file.count, now_ms)
    if events.reasons:
        reasons = {**events.reasons, **unreadable}
        first = reasons[min(reasons)]
        notes.append(f"{len(reasons)} events of {stream.name} were not counted, the first because {first}")
    columns = counted_once(stream, events.columns)
    if again := events.columns[stream.time].size - columns[stream.time].size:
        notes.append(f"{again} events of {stream.name} were not counted, they repeat the {stream.id} of another")
    return columns


def read_table(path: Path) -> pa.Table:
    """Read a spine; SourceError where it is not a readable Parquet or CSV file."""
    _check_ending(path)
    if not path.is_file():
        raise SourceError(f"there is no file {path.name!r}, needs a Parquet or CSV file with a row per key and time")
    try:
        return pq.read_table(path) if path.suffix.lower() == ".parquet" else pa_csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as damaged:
        raise SourceError(f"{path.name!r} cannot be read as {path.suffix[1:]}: {damaged}") from damaged


def frame_of(
    view: FeatureView,
    table: pa.Table,
    history: Mapping[str, Mapping[str, np.ndarray]],
    notes: list[str],
    progress: Progress | None = None,
) -> TrainingFrame:
    """Return the features of a table's rows; columns the view does not read are left aside.

    A request column or a key that the table lacks is missing in every row, and noted.
    """
    if view.time not in table.column_names:
        raise RowsError(
            f"the spine has columns {', '.join(table.column_names)}, needs the time {view.time!r}"
            f"{nearest(view.time, table.column_names)}"
        )
    spine = {name: as_numpy(table.column(name)) for name in view.request_names if name in table.column_names}
    absent = [name for name in view.request_names if name not in spine]
    keys = {group.key for group in view.groups}
    if keys and keys <= set(absent):
        raise RowsError(
            f"the spine has columns {', '.join(table.column_names)}, needs a key: {' or '.join(sorted(keys))}"
        )
    if absent:
        notes.append(f"the spine has no {', '.join(absent)}: what is computed from it is missing")
    return training_frame(view, spine, history, progress=progress, partial=True)


def write_frame(frame: TrainingFrame, table: pa.Table, out: Path, fill: bool) -> None:
    """Write a table's columns followed by the features; one computed before is replaced, the request's are kept."""
    values = frame.matrix() if fill else frame.features
    for at, feature in enumerate(frame.view.features):
        column = pa.array(values[:, at], from_pandas=True)
        if feature.name not in table.column_names:
            table = table.append_column(feature.name, column)
        elif not feature.source.startswith("request."):
            table = table.set_column(table.column_names.index(feature.name), feature.name, column)
    if out.suffix.lower() == ".parquet":
        meta = {**(table.schema.metadata or {}), b"headrace_fingerprint": frame.view.fingerprint.encode()}
        pq.write_table(table.replace_schema_metadata(meta), out)
    else:
        pa_csv.write_csv(table, out)


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise SourceError(f"{path.name!r} ends in {path.suffix!r}, needs .parquet or .csv")

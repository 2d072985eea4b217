"""The offline store: event history in Parquet, and point-in-time training frames.

A training frame holds, for every row of a spine (key, time, further columns), the values
that serving would have given at that instant: see headrace.stores.timeline. Nothing at or
after a row's time is ever in its windows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.features.assemble import Plan
from headrace.features.columns import NO_TIME
from headrace.features.rows import Rows, conform
from headrace.features.view import FeatureView
from headrace.features.windows import WindowedGroup
from headrace.stores.timeline import Timeline

Columns = Mapping[str, np.ndarray]
_ROWS = 1 << 17  # rows that are computed together where a view has no groups


@dataclass(slots=True)
class TrainingFrame:
    """Features of every spine row: float32 [rows, columns] in which NaN is missing."""

    view: FeatureView
    rows: Rows
    features: np.ndarray

    def matrix(self) -> np.ndarray:
        """Return what the model reads: the declared missing values filled in."""
        return Plan.of(self.view).fill(self.features.copy())


class OfflineStore:
    """Event history under `path`, one folder of Parquet files per stream."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, stream: str, columns: Columns) -> Path:
        """Write events as one more file of the stream and return it; the file appears whole or not at all."""
        folder = self.path / stream
        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
        os.close(handle)
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), partial)
        try:
            return _linked(Path(partial), folder)
        finally:
            Path(partial).unlink()

    def events(self, stream: str) -> dict[str, np.ndarray]:
        """Return a stream's whole history in order of arrival; LookupError where there is none."""
        parts = sorted((self.path / stream).glob("part-*.parquet"))
        if not parts:
            raise LookupError(f"the offline store has no events of stream {stream!r}: append some first")
        table = pa.concat_tables([pq.read_table(part) for part in parts], promote_options="default")
        return {name: table.column(name).to_numpy() for name in table.column_names}


def _linked(partial: Path, folder: Path) -> Path:
    """Name a file after the last part of a folder; another writer that was faster took its name."""
    while True:
        last = max((int(part.stem.partition("-")[2]) for part in folder.glob("part-*.parquet")), default=-1)
        target = folder / f"part-{last + 1:05d}.parquet"
        with suppress(FileExistsError):
            os.link(partial, target)
            return target


def training_frame(
    view: FeatureView,
    spine: Columns,
    events: Mapping[str, Columns],
    *,
    progress: Callable[[int], None] | None = None,
    partial: bool = False,
) -> TrainingFrame:
    """Return the features of every spine row, point-in-time correct.

    `spine` holds the view's request columns, its time column among them, each [rows];
    `events[stream]` the columns of each stream, in order of arrival. `progress` is told
    how many rows were done. A column that the view requires may be absent only if `partial`;
    it is missing in every row. Raises RowsError for a spine that does not fit the view.
    """
    rows = conform(view, spine, NO_TIME, partial=partial)
    plan = Plan.of(view)
    out = np.empty((rows.count, plan.width), dtype=np.float32)
    by_width = sorted(view.groups, key=lambda group: len(group.column_names))
    widest = by_width[-1] if by_width else None
    whole = {group.name: _whole(group, events.get(group.stream), rows) for group in by_width[:-1]}
    read = {name for _, name in plan.request} | {
        str(name) for step in plan.computed for origin, name in step.inputs if origin == "request"
    }
    for part, block in _pieces(widest, events, rows):
        blocks = {name: values[part] for name, values in whole.items()}
        if widest is not None:
            blocks[widest.name] = block
        request = {name: values[part] for name, values in rows.columns.items() if name in read}
        out[part] = plan.compute(part.size, request, blocks)
        if progress:
            progress(part.size)
    return TrainingFrame(view, rows, out)


def _pieces(
    group: WindowedGroup | None, events: Mapping[str, Columns], rows: Rows
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and their values of the group, which need not be there; each row once, in whatever order."""
    if group is not None:
        yield from read_group(group, events.get(group.stream), rows)
        return
    for start in range(0, rows.count, _ROWS):
        yield np.arange(start, min(start + _ROWS, rows.count)), np.empty((0, 0))


def _whole(group: WindowedGroup, events: Columns | None, rows: Rows) -> np.ndarray:
    out = np.empty((rows.count, len(group.column_names)))
    for part, block in read_group(group, events, rows):
        out[part] = block
    return out


def read_group(group: WindowedGroup, events: Columns | None, rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some rows and their values of a group, float64 [rows, its columns], until each was yielded once.

    Without events, and in rows without the key, every window is empty.
    """
    keys = rows.columns.get(group.key)
    if keys is None or events is None:
        keys = np.zeros(rows.count, dtype=np.int64)
        events = dict.fromkeys((group.key, group.time, group.value, *group.last), np.zeros(0, dtype=np.int64))
    yield from Timeline.of(group, events).read(keys, rows.as_of, rows.unkeyed.get(group.key))

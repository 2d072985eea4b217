"""Backfill: the features of any rows at any past instant, from files of events, out of core.

The spine is a file of keys and times with any further columns; each row comes back, in the
spine's order, with the values that serving would have given at its time. Missing stays missing
(null) unless the declared values are asked for. Events and rows are staged, sorted by key and
time, and swept together group by group; so memory does not grow with either.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_pipelines.dead_letters import DeadLetter, DeadLetterFile
from feature_pipelines.files import as_numpy
from feature_pipelines.histories import History
from feature_pipelines.progress import Progress, Share, unheard
from feature_pipelines.spines import FrameWriter, Spine
from headrace.application import Application
from headrace.features.assemble import Plan
from headrace.features.columns import NO_TIME
from headrace.features.rows import Rows, RowsError, conform, nearest
from headrace.features.windows import WindowedGroup, merge
from headrace.stores import buckets
from headrace.stores.buckets import Buckets
from headrace.stores.history import Staged
from headrace.stores.sweep import AS_OF, KEY, ROW, read_sorted

_EARLIEST = -(2**62)  # of a row without a time: before every event


@dataclass(slots=True)
class Backfill:
    """What a backfill made and what must be said about it."""

    rows: int
    events: dict[str, int]
    notes: list[str] = field(default_factory=list)
    dead: int = 0
    letters: Path | None = None


def backfill(
    app: Application,
    events: Path,
    spine: Path,
    out: Path,
    *,
    now_ms: int,
    fill: bool = False,
    progress: Progress = unheard,
) -> Backfill:
    """Write the spine's rows with the view's features to `out`: Parquet, CSV, or a folder of Parquet partitions.

    `events` is a file, a folder or a pattern of files. Events that cannot be counted become dead
    letters beside `out`. Raises SourceError for what cannot be read or written, and RowsError for
    a spine without the view's time or without any key.
    """
    writer, work = FrameWriter(out, app.view), out.parent if out.parent.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=".backfill-", dir=work) as folder, Spine(spine) as rows:
        job = _Job(app, Path(folder), now_ms, progress, letters_of(out))
        job.check(rows)
        job.read_events(events)
        job.stage_rows(rows)
        job.sweep()
        with writer:
            for table, matrix in job.frame(rows, fill):
                writer.write(table, matrix)
        return job.done


def letters_of(out: Path) -> DeadLetterFile:
    """Return where the dead letters of a backfill go: set aside in its folder, or beside its file."""
    return DeadLetterFile(out.with_name(f"{out.stem}_dead_letters.jsonl"))


class _Job:
    """One backfill in its steps; `done` fills as they are taken."""

    def __init__(
        self, app: Application, folder: Path, now_ms: int, progress: Progress, letters: DeadLetterFile
    ) -> None:
        self.done = Backfill(0, {})
        self._view, self._app, self._folder, self._now_ms = app.view, app, folder, now_ms
        self._progress, self._letters, self._letters_at = progress, letters, 0
        self._histories: dict[str, tuple[History, Staged]] = {}
        self._rows: dict[str, Staged] = {}
        self._found: dict[str, Buckets] = {}

    def check(self, spine: Spine) -> None:
        """Compare the spine's columns with the view's."""
        view, names = self._view, spine.names
        listed = ", ".join(names)
        if view.time not in names:
            raise RowsError(f"the spine has columns {listed}, needs the time {view.time!r}{nearest(view.time, names)}")
        self._wanted = [name for name in view.request_names if name in names]
        absent = [name for name in view.request_names if name not in names]
        keys = {group.key for group in view.groups}
        if keys and keys <= set(absent):
            raise RowsError(f"the spine has columns {listed}, needs a key: {' or '.join(sorted(keys))}")
        if absent:
            self.done.notes.append(f"the spine has no {', '.join(absent)}: what is computed from it is missing")
        self.done.rows = spine.count

    def read_events(self, path: Path) -> None:
        """Decode and stage every stream of the application that the files have the columns of."""
        notes, streams = [], [stream for stream in self._app.streams if self._app.groups_of(stream.name)]
        for at, stream in enumerate(streams):
            history = History.of(stream, path, self._app.groups_of(stream.name))
            if lacking := history.lacking():
                groups = ", ".join(group.name for group in history.groups)
                notes.append(f"{path.name} has no {', '.join(lacking)}: every value of {groups} is missing")
                continue
            if absent := history.absent():
                notes.append(f"{path.name} has no {', '.join(absent)}: null in every event of {stream.name}")
            share = 0.4 / len(streams)
            heard = Share(self._progress, f"read {stream.name}", share * at, share, history.count)
            staged = history.stage(Staged(self._folder), self._now_ms, self._bury, heard.advance)
            self._histories[stream.name] = history, staged
            self.done.events[stream.name] = staged.count
            notes += history.notes()
        self.done.notes[:0] = notes

    def stage_rows(self, spine: Spine) -> None:
        """Put aside what each group needs of each row: its key, its instant and its number."""
        groups = [g for g in self._view.groups if g.stream in self._histories and g.key in self._wanted]
        self._rows = {group.name: Staged(self._folder) for group in groups}
        heard = Share(self._progress, "read rows", 0.4, 0.1, spine.count)
        start = 0
        names = list(dict.fromkeys((*(group.key for group in groups), self._view.time)))
        for table in spine.read(buckets.SIZE, names):
            rows = self._conformed(table)
            number = np.arange(start, start + rows.count)
            start += rows.count
            for group in groups:
                unknown = rows.unkeyed.get(group.key)
                kept = slice(None) if unknown is None else ~unknown
                instants = np.maximum(rows.as_of, _EARLIEST)
                self._rows[group.name].append(
                    {KEY: rows.columns[group.key][kept], AS_OF: instants[kept], ROW: number[kept]}
                )
            heard.advance(rows.count)

    def sweep(self) -> None:
        """Read every group at every row, in order of key and time, into buckets of rows."""
        for at, (name, staged) in enumerate(self._rows.items()):
            group = next(group for group in self._view.groups if group.name == name)
            history = self._histories[group.stream][1]
            found = self._found[name] = Buckets(self._folder, name, len(group.column_names))
            share = 0.35 / len(self._rows)
            heard = Share(self._progress, name, 0.5 + share * at, share, staged.count)
            columns = tuple(dict.fromkeys((group.key, group.time, group.value, *group.last)))
            events = history.sorted((group.key, group.time), columns)
            for numbers, values in read_sorted(group, events, staged.sorted((KEY, AS_OF), (KEY, AS_OF, ROW))):
                found.put(numbers, values)
                heard.advance(numbers.size)
            staged.close()
        for _, staged in self._histories.values():
            staged.close()

    def frame(self, spine: Spine, fill: bool) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Yield the spine's rows and their features, float32 [rows, columns], a bucket at a time."""
        plan = Plan.of(self._view)
        nothing = {group.name: _nothing(group) for group in self._view.groups}
        heard = Share(self._progress, "write rows", 0.85, 0.15, spine.count)
        for bucket, table in enumerate(spine.read(buckets.SIZE)):
            rows = self._conformed(table)
            blocks = {}
            for name, default in nothing.items():
                block = np.repeat(default, rows.count, axis=0)
                blocks[name] = self._found[name].take(bucket, block) if name in self._found else block
            features = plan.compute(rows.count, rows.columns, blocks)
            yield table, plan.fill(features) if fill else features
            heard.advance(rows.count)

    def _conformed(self, table: pa.Table) -> Rows:
        given = {name: as_numpy(table.column(name)) for name in self._wanted if name in table.column_names}
        return conform(self._view, given, NO_TIME, partial=True)

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if not self.done.dead:  # those of an earlier backfill to the same place
            self._letters.path.unlink(missing_ok=True)
        self._letters_at = self._letters.append(letters, self._letters_at)
        self.done.dead += len(letters)
        self.done.letters = self._letters.path


def _nothing(group: WindowedGroup) -> np.ndarray:
    return merge(group, group.empty(1), np.zeros(1, dtype=np.int64))

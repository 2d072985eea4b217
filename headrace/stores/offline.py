"""The offline store: event history in Parquet, and point-in-time training frames.

A training frame holds, for every row of a spine (key, time, further columns), the values
that serving would have given at that instant. For each row the frame rebuilds the very
tiles an online record would hold - the whole tiles before the row and the part of its own
tile that had happened - and hands them to the same `merge` that answers requests. Nothing
at or after a row's time is ever in its tiles.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.features import aggregates
from headrace.features.assemble import Plan
from headrace.features.columns import NO_TIME
from headrace.features.rows import Rows, conform
from headrace.features.view import FeatureView
from headrace.features.windows import WindowedGroup, merge

Columns = Mapping[str, np.ndarray]
_CHUNK = 2048  # rows of a spine whose tiles are in memory together: about 7 MiB for a wide group


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
    history = {group.name: _History.of(group, events[group.stream]) for group in view.groups if group.stream in events}
    plan = Plan.of(view)
    out = np.empty((rows.count, plan.width), dtype=np.float32)
    order = _by_entity(view, rows)
    for start in range(0, rows.count, _CHUNK):
        part = order[start : start + _CHUNK]
        as_of = rows.as_of[part]
        blocks = {group.name: _block(group, history.get(group.name), rows, part, as_of) for group in view.groups}
        request = {name: values[part] for name, values in rows.columns.items()}
        out[part] = plan.compute(as_of.size, request, blocks)
        if progress:
            progress(as_of.size)
    return TrainingFrame(view, rows, out)


def _by_entity(view: FeatureView, rows: Rows) -> np.ndarray:
    """Return the order in which rows are computed: those of an entity together, whose events lie together."""
    keys = rows.columns.get(view.groups[0].key) if view.groups else None
    return np.arange(rows.count) if keys is None else np.argsort(keys, kind="stable")


def _block(
    group: WindowedGroup, history: _History | None, rows: Rows, part: np.ndarray, as_of: np.ndarray
) -> np.ndarray:
    keys = rows.columns.get(group.key)
    if history is None or keys is None:
        return merge(group, group.empty(as_of.size), as_of)
    records = history.records(keys[part], as_of)
    unknown = rows.invalid.get(group.key)
    if unknown is not None:
        records[unknown[part]] = group.empty(int(unknown[part].sum()))
    return merge(group, records, as_of)


@dataclass(slots=True)
class _Tiles:
    """The tiles of one window over all history, in order of key and time."""

    tile: np.ndarray  # [tiles] its tile index
    of_event: np.ndarray  # [events] which tile, by its place in `tile`, an event is in
    whole: aggregates.Summary  # [tiles]
    running: aggregates.Summary  # [events] from the tile's first event up to and with this one

    @classmethod
    def of(
        cls, fields: tuple[str, ...], key: np.ndarray, values: np.ndarray, times: np.ndarray, tile_ms: int
    ) -> _Tiles:
        tile = times // tile_ms
        new = np.ones(tile.size, dtype=bool)
        new[1:] = (np.diff(tile) != 0) | (np.diff(key) != 0)
        starts = np.flatnonzero(new)
        whole = aggregates.of(fields, values, times, starts) if starts.size else {}
        return cls(tile[starts], np.cumsum(new) - 1, whole, _running(fields, values, times, starts))


@dataclass(slots=True)
class _History:
    """One group's events sorted by key and time, and the tiles of each of its windows."""

    group: WindowedGroup
    keys: np.ndarray  # distinct, sorted
    instants: np.ndarray  # distinct times, sorted
    place: np.ndarray  # [events] rank of (key, time), ascending
    times: np.ndarray
    last: dict[str, np.ndarray]
    counted_place: np.ndarray  # as place, of the events whose value is not null
    tiles: list[_Tiles]

    @classmethod
    def of(cls, group: WindowedGroup, events: Columns) -> _History:
        """Sort the events once and summarise every tile."""
        times = np.asarray(events[group.time], dtype=np.int64)
        keys, code = np.unique(events[group.key], return_inverse=True)
        order = np.lexsort((times, code))  # stable: of equal times, the later arrival comes last
        times, code = times[order], code[order]
        instants, rank = np.unique(times, return_inverse=True)
        place = code * (instants.size + 1) + rank
        values = np.asarray(events[group.value], dtype=np.float64)[order]
        kept = ~np.isnan(values)
        tiles = [_Tiles.of(group.fields, code[kept], values[kept], times[kept], w.tile_ms) for w in group.windows]
        last = {name: np.asarray(events[name], dtype=np.float64)[order] for name in group.last}
        return cls(group, keys, instants, place, times, last, place[kept], tiles)

    def records(self, keys: np.ndarray, as_of: np.ndarray) -> np.ndarray:
        """Return the records an online store would hold just before each instant."""
        group, out = self.group, self.group.empty(keys.size)
        if not self.keys.size:
            return out
        code = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        seen = self.keys[code] == keys
        bottom = code * (self.instants.size + 1)
        top = bottom + np.searchsorted(self.instants, as_of)
        self._newest(out, seen, np.searchsorted(self.place, bottom), np.searchsorted(self.place, top))
        low, high = np.searchsorted(self.counted_place, bottom), np.searchsorted(self.counted_place, top)
        low = np.where(seen, low, high)  # a key without history has no events in between
        oldest, _ = group.plan.bounds(as_of)
        for at, (window, start, tiles) in enumerate(zip(group.windows, group.plan.starts, self.tiles, strict=True)):
            _fill(out, slice(start, start + window.slots), group.fields, tiles, low, high, oldest[:, at])
        return out

    def _newest(self, out: np.ndarray, seen: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        some = np.flatnonzero(seen & (high > low))
        out["newest_ms"][some] = self.times[high[some] - 1]
        for at, name in enumerate(self.group.last):
            out["last_columns"][some, at] = self.last[name][high[some] - 1]


def _fill(
    out: np.ndarray,
    slots: slice,
    fields: tuple[str, ...],
    tiles: _Tiles,
    low: np.ndarray,
    high: np.ndarray,
    oldest: np.ndarray,
) -> None:
    """Put the tiles from `oldest` on of events [low, high) of each row into its slots, the newest first.

    Most rows have events in few of a window's tiles, so only these are touched.
    """
    some = np.flatnonzero(high > low)
    if not some.size:
        return
    head, tail = tiles.of_event[high[some] - 1], tiles.of_event[low[some]]
    count = np.minimum(head - tail + 1, slots.stop - slots.start)
    row = np.repeat(some, count)
    back = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)  # 0 is the tile the row is in
    index = np.repeat(head, count) - back
    kept = np.flatnonzero(tiles.tile[index] >= oldest[row])
    row, back, index = row[kept], back[kept], index[kept]
    slot, own = slots.start + back, np.flatnonzero(back == 0)
    out["tile"][row, slot] = tiles.tile[index]
    for name in fields:
        values = tiles.whole[name][index]
        values[own] = tiles.running[name][high[row[own]] - 1]
        out[name][row, slot] = values


def _running(fields: tuple[str, ...], values: np.ndarray, times: np.ndarray, starts: np.ndarray) -> aggregates.Summary:
    """Summarise every prefix of every run by doubling: W. Hillis, G. Steele, "Data Parallel Algorithms" (1986)."""
    if not values.size:
        return {}
    every = np.arange(values.size)
    out = aggregates.of(fields, values, times, every)
    depth = every - np.repeat(starts, np.diff(np.append(starts, values.size)))  # events of the run before this one
    step = 1
    while step <= depth.max():
        here = np.flatnonzero(depth >= step)
        earlier = {name: out[name][here - step] for name in out}
        for name, merged in aggregates.add(earlier, {name: out[name][here] for name in out}).items():
            out[name][here] = merged
        step *= 2
    return out

"""Event files: Parquet, CSV and JSON lines, read by row number with their original bytes at hand.

A CSV event is one line: a line break inside a quoted value is not supported, so that one
damaged quote spoils one event and not the rest of the file.
"""

from __future__ import annotations

import csv
import mmap
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipelines.json_events import JsonReader, object_of

Raw = Mapping[str, Sequence[Any] | np.ndarray]
_BLOCK = 1 << 26
_NAMED = 1000  # lines of JSON that name the columns, more only where a wanted one is not among them


class SourceError(Exception):
    """A file or stream that cannot be read as events; the text says why."""


#: What a file of events ends in.
ENDINGS = (".parquet", ".csv", ".jsonl", ".ndjson")


class EventFile(Protocol):
    """Rows of a file by number."""

    columns: tuple[str, ...]
    count: int

    def read(self, index: np.ndarray) -> tuple[Raw, dict[int, str]]:
        """Return the columns of the rows, and which of them cannot be read, by position in `index`."""
        ...

    def column(self, name: str) -> Sequence[Any] | np.ndarray:
        """Return one column of the whole file, None where a row cannot be read."""
        ...

    def original(self, row: int) -> bytes:
        """Return a row's bytes as they stand in the file (of Parquet, the row as JSON)."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def check_there(path: Path) -> None:
    """Raise SourceError where a path is that of no file."""
    if path.is_dir():
        raise SourceError(f"{str(path)!r} is a folder, needs one file of events, ending in {', '.join(ENDINGS)}")
    if not path.is_file():
        raise SourceError(f"there is no file {str(path)!r}, needs a Parquet, CSV or JSON lines file of events")


def open_events(path: Path, wanted: Sequence[str]) -> EventFile:
    """Open a file by its ending; SourceError where it is not there, empty or of another kind."""
    check_there(path)
    kinds: dict[str, Callable[[Path, Sequence[str]], EventFile]] = {
        ".parquet": ParquetEvents,
        ".csv": CsvEvents,
        ".jsonl": JsonEvents,
        ".ndjson": JsonEvents,
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise SourceError(f"{str(path)!r} ends in {path.suffix!r}, needs one of {', '.join(kinds)}")
    file = kind(path, wanted)
    missing = [name for name in wanted if name not in file.columns]
    if len(missing) == len(wanted):
        raise SourceError(f"{str(path)!r} has columns {', '.join(file.columns)}, none of {', '.join(wanted)}")
    return file


class ParquetEvents:
    """Rows of a Parquet file; only the wanted columns are read, one row group at a time."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        try:
            self._name = path.name
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as damaged:
            raise SourceError(f"{str(path)!r} cannot be read as Parquet: {damaged}") from damaged
        self.columns = tuple(self._file.schema_arrow.names)
        self.count = self._file.metadata.num_rows
        self._wanted = [name for name in wanted if name in self.columns]
        sizes = [self._file.metadata.row_group(at).num_rows for at in range(self._file.num_row_groups)]
        self._ends = np.cumsum(sizes) if sizes else np.zeros(1, dtype=np.int64)
        self._group = -1
        self._rows = pa.table({})
        self._all: pa.Table | None = None
        self._whole = (-1, pa.table({}))  # the row group that was last asked for original rows

    def read(self, index: np.ndarray) -> tuple[Raw, dict[int, str]]:
        """Return the columns of these rows; every row of a Parquet file can be read."""
        table = self._take(index)
        return {name: as_numpy(table.column(name)) for name in self._wanted}, {}

    def column(self, name: str) -> np.ndarray:
        """Return one column of the whole file."""
        if name not in self.columns:
            raise SourceError(f"{self._name!r} has columns {', '.join(self.columns)}, needs {name!r}")
        return as_numpy(self._file.read(columns=[name]).column(name))

    def original(self, row: int) -> bytes:
        """Return a row as JSON."""
        group = int(np.searchsorted(self._ends, row, side="right"))
        if group != self._whole[0]:
            self._whole = (group, self._file.read_row_group(group))
        rows = self._whole[1]
        at = row - int(self._ends[group]) + rows.num_rows
        return orjson.dumps(rows.slice(at, 1).to_pylist()[0], default=str)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, index: np.ndarray) -> pa.Table:
        if not index.size or np.any(np.diff(index) != 1):  # in order of time: the wanted columns are held in memory
            if self._all is None:
                self._all = self._file.read(columns=self._wanted)
            return self._all.take(pa.array(index))
        parts, at, stop = [], int(index[0]), int(index[-1]) + 1
        while at < stop:
            group = int(np.searchsorted(self._ends, at, side="right"))
            if group != self._group:
                self._group, self._rows = group, self._file.read_row_group(group, columns=self._wanted)
            end = min(stop, int(self._ends[group]))
            parts.append(self._rows.slice(at - int(self._ends[group]) + self._rows.num_rows, end - at))
            at = end
        return pa.concat_tables(parts)


class _Lines:
    """A text file in memory pages, and where its lines begin and end."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        if path.stat().st_size == 0:
            raise SourceError(f"{str(path)!r} is empty, needs events")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = _line_ends(self._map)
        # A byte order mark is no part of the first line.
        starts = np.concatenate(([3 if self._map[:3] == BOM_UTF8 else 0], ends[:-1] + 1))
        self._starts, self._ends = starts, ends

    def _line(self, row: int) -> bytes:
        return self._map[self._starts[row] : self._ends[row]].rstrip(b"\r")

    def close(self) -> None:
        self._map.close()


class CsvEvents(_Lines):
    """Lines of a CSV file with a header; values are text."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        super().__init__(path)
        try:
            header = next(csv.reader([self._line(0).decode()], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as damaged:
            raise SourceError(
                f"the first line of {str(path)!r} cannot be read, needs a CSV header in UTF-8: {damaged}"
            ) from damaged
        self.columns = tuple(name.strip() for name in header)
        self._starts, self._ends = self._starts[1:], self._ends[1:]
        self.count = self._starts.size
        self._wanted = [name for name in wanted if name in self.columns]

    def read(self, index: np.ndarray) -> tuple[Raw, dict[int, str]]:
        """Return the wanted columns of these rows as text; a row that cannot be read is blank."""
        unreadable: dict[int, str] = {}
        blank = [""] * len(self.columns)
        rows = [blank] * index.size
        texts = []
        for at, row in enumerate(index.tolist()):
            texts.append(self._text(at, row, unreadable))
        for at, fields in enumerate(csv.reader(texts)):
            if len(fields) == len(blank):
                rows[at] = fields
            elif at not in unreadable:
                unreadable[at] = f"{len(fields)} values, needs {len(blank)} as in the header"
        columns = dict(zip(self.columns, zip(*rows, strict=True), strict=True)) if rows else {}
        return {name: columns.get(name, ()) for name in self._wanted}, unreadable

    def column(self, name: str) -> Sequence[Any] | np.ndarray:
        """Return one column of the whole file as text."""
        if name not in self.columns:
            raise SourceError(f"{self._name!r} has columns {', '.join(self.columns)}, needs {name!r}")
        return self.read(np.arange(self.count))[0][name] if self.count else ()

    def original(self, row: int) -> bytes:
        """Return a line without its line break."""
        return self._line(row)

    def _text(self, at: int, row: int, unreadable: dict[int, str]) -> str:
        line = self._line(row)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            unreadable[at] = "the line is not UTF-8"
            return "\0"
        if why := _damage(text):
            unreadable[at] = why
            return "\0"  # one line that the reader takes as one value
        return text


def _damage(text: str) -> str:
    """Say why a line of CSV cannot be read; empty where it can be, and then it is one row."""
    if "\0" in text or not text.strip():
        return "the line is blank or binary"
    if '"' in text or "\r" in text or len(text) > csv.field_size_limit():
        try:
            if len(list(csv.reader([text, "\0"]))) != 2:  # it went on into the next line
                return "a quote is not closed"
        except csv.Error as wrong:
            return f"the line is not CSV: {wrong}"
    return ""


class JsonEvents(_Lines):
    """Lines of JSON, one object each."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        super().__init__(path)
        self.count = self._starts.size
        self.columns = self._named(wanted)
        self._reader = JsonReader(wanted)

    def read(self, index: np.ndarray) -> tuple[Raw, dict[int, str]]:
        """Return the wanted values of these lines; a line that is not an object is blank."""
        return self._reader.read(list(map(self._line, index.tolist())))

    def column(self, name: str) -> Sequence[Any]:
        """Return one value of every line."""
        return JsonReader((name,)).read(list(map(self._line, range(self.count))))[0][name]

    def original(self, row: int) -> bytes:
        """Return a line without its line break."""
        return self._line(row)

    def _named(self, wanted: Sequence[str]) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for row in range(self.count):
            if row >= _NAMED and names.keys() >= set(wanted):
                break
            names.update(dict.fromkeys(object_of(self._line(row), row, {})))
        return tuple(names)


def as_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as NumPy: instants as int64 epoch milliseconds, whole numbers with nulls as objects."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms"), safe=False) if column.type.unit != "ms" else column
        column = column.cast(pa.int64())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count and not pa.types.is_floating(column.type):
        return np.array(column.to_pylist(), dtype=object)
    return column.to_numpy()


def _line_ends(data: mmap.mmap) -> np.ndarray:
    found = []
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data[start : start + _BLOCK], dtype=np.uint8)
        found.append(np.flatnonzero(block == 10) + start)
    ends = np.concatenate(found)
    return ends if ends.size and ends[-1] == len(data) - 1 else np.append(ends, len(data))

"""Spines and frames on disk: rows of keys and times in, the same rows with their features out, some rows at a time.

What is written appears whole or not at all. A Parquet spine is read in pieces; one in CSV is held
in memory, because its columns' types are known only once every line was seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_pipelines.files import SourceError
from headrace.features.view import FeatureView

_PART = 1 << 20  # rows of a partition


def read_table(path: Path) -> pa.Table:
    """Read a table; SourceError where it is not a readable Parquet or CSV file, or a folder of Parquet files."""
    with Spine(path) as spine:
        return pa.concat_tables(spine.read(_PART))


class Spine:
    """Rows of a Parquet or CSV file, or of a folder of Parquet files in order of their names; SourceError."""

    def __init__(self, path: Path) -> None:
        self._name, self._table = path.name, None
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise SourceError(f"the folder {str(path)!r} holds no Parquet files, needs rows with a key and time")
        for file in files:
            check_ending(file)
            if not file.is_file():
                raise SourceError(
                    f"there is no file {str(file)!r}, needs a Parquet or CSV file with a row per key and time"
                )
        try:
            if files[0].suffix.lower() == ".csv":
                self._table, self._files = pa_csv.read_csv(files[0]), []
                self.schema, self.count = self._table.schema, self._table.num_rows
            else:
                self._files = [pq.ParquetFile(file) for file in files]
                self.schema = self._files[0].schema_arrow
                self.count = sum(file.metadata.num_rows for file in self._files)
        except (pa.ArrowInvalid, OSError) as damaged:
            raise SourceError(f"{str(path)!r} cannot be read as {files[0].suffix[1:]}: {damaged}") from damaged

    def __enter__(self) -> Spine:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    @property
    def names(self) -> list[str]:
        """The columns."""
        return list(self.schema.names)

    def read(self, rows: int, names: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield tables of exactly `rows` rows, the last one of fewer, one of none where there are none; SourceError.

        They have these columns, or all.
        """
        held: list[pa.Table] = []
        for table in self._tables(rows, names):
            held.append(table)
            while sum(part.num_rows for part in held) >= rows:
                joined = pa.concat_tables(held)
                yield joined.slice(0, rows)
                held = [joined.slice(rows)]
        if not self.count:
            yield _selected(self.schema, names).empty_table()
        elif any(part.num_rows for part in held):
            yield pa.concat_tables(held)

    def _tables(self, rows: int, names: list[str] | None) -> Iterator[pa.Table]:
        if self._table is not None:
            yield self._table.select(names) if names is not None else self._table
        try:
            for file in self._files:
                for batch in file.iter_batches(rows, columns=names):
                    yield pa.Table.from_batches([batch]).cast(_selected(self.schema, names))
        except (ValueError, OSError) as damaged:  # other columns than the first file has, or a page that is not whole
            raise SourceError(f"{self._name!r} cannot be read to its end: {damaged}") from damaged


class FrameWriter:
    """Writes tables to a Parquet or CSV file, or to a folder of Parquet partitions, in the order given."""

    def __init__(self, out: Path, view: FeatureView) -> None:
        """Begin; SourceError for an ending that is none of these, and for a folder that is not empty."""
        self._out, self._view = out, view
        self._partial = out.with_name(f".{out.name}.partial")
        self._folder = is_folder(out)
        self._writer: Any = None
        self._rows = self._parts = 0
        if not self._folder:
            check_ending(out)
        elif out.exists() and any(out.iterdir()):
            raise SourceError(f"the folder {str(out)!r} is not empty, needs an empty or a new one for the partitions")

    def __enter__(self) -> FrameWriter:
        if self._folder:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True) if self._folder else self._partial.unlink(missing_ok=True)
            return
        if self._folder and self._out.exists():
            self._out.rmdir()
        self._partial.replace(self._out)

    def write(self, table: pa.Table, values: np.ndarray) -> None:
        """Write a table's rows followed by their features, [rows, columns], NaN as null."""
        table = with_features(self._view, table, values)
        if self._writer is None or (self._folder and self._rows >= _PART):
            self._begin(table.schema)
        self._writer.write_table(table)
        self._rows += table.num_rows

    def _begin(self, schema: pa.Schema) -> None:
        if self._writer is not None:
            self._writer.close()
        path = self._partial / f"part-{self._parts:05d}.parquet" if self._folder else self._partial
        self._parts, self._rows = self._parts + 1, 0
        if self._out.suffix.lower() == ".csv" and not self._folder:
            self._writer = pa_csv.CSVWriter(path, schema)
        else:
            computed = {feature.name for feature in self._view.features}  # hardly ever the same number twice
            self._writer = pq.ParquetWriter(path, schema, use_dictionary=[n for n in schema.names if n not in computed])


def with_features(view: FeatureView, table: pa.Table, values: np.ndarray) -> pa.Table:
    """Return a table with the features; one computed before is replaced, the request's are kept."""
    values = np.asfortranarray(values)
    for at, feature in enumerate(view.features):
        column = pa.array(values[:, at], from_pandas=True)
        if feature.name not in table.column_names:
            table = table.append_column(feature.name, column)
        elif not feature.source.startswith("request."):
            table = table.set_column(table.column_names.index(feature.name), feature.name, column)
    meta = {**(table.schema.metadata or {}), b"headrace_fingerprint": view.fingerprint.encode()}
    return table.replace_schema_metadata(meta)


def is_folder(out: Path) -> bool:
    """Tell whether a target is a folder of partitions: one that is there, or a name without an ending."""
    return out.is_dir() or not out.suffix


def check_ending(path: Path) -> None:
    """Raise SourceError for a file that is neither Parquet nor CSV by its name."""
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise SourceError(f"{str(path)!r} ends in {path.suffix!r}, needs .parquet or .csv")


def _selected(schema: pa.Schema, names: list[str] | None) -> pa.Schema:
    return schema if names is None else pa.schema([schema.field(name) for name in names], schema.metadata)

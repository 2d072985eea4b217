"""History out of core: typed columns staged batch by batch, and read back in order of key and time.

Up to IN_MEMORY rows are sorted where they are. More are written to Parquet in a folder of the
caller's and sorted by DuckDB (extra `backfill`), within a memory limit and with what does not
fit in the same folder. Rows that are equal in what they are sorted by keep the order they came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Columns = Mapping[str, np.ndarray]
#: Rows that are held in memory; more go to the disk.
IN_MEMORY = 2_000_000
#: Rows of a batch that is read back.
BATCH = 1 << 18
_ARRIVAL = "arrival"  # the order rows came in
_MEMORY = "1GB"


class HistoryTooLarge(ValueError):
    """History that does not fit in memory, and nothing is installed to sort it elsewhere."""


class Staged:
    """Rows of equally named columns, [n] each: int64, float64, or text as objects.

    Close it, or use it in a `with` block: files under `folder` are then removed.

    >>> staged = Staged(Path("unused"))
    >>> staged.append({"key": np.array([2, 1, 2]), "at": np.array([5, 7, 3])})
    >>> [batch["at"].tolist() for batch in staged.sorted(("key", "at"), ("at",))]
    [[7, 3, 5]]
    """

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._folder = folder
        self._held: list[Columns] = []
        self._writer: Any = None

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def another(self) -> Staged:
        """Return a place for other rows in the same folder."""
        return Staged(self._folder)

    def append(self, columns: Columns) -> None:
        """Add rows. Raises HistoryTooLarge where they are too many for memory and DuckDB is not installed."""
        self.count += len(next(iter(columns.values())))
        self._held.append(columns)
        if self._writer is not None or self.count > IN_MEMORY:
            self._spill()

    def sorted(self, by: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Yield columns in ascending order of others, in batches that are not empty."""
        if self._writer is not None:
            self._writer.close()
            yield from self._sorted_on_disk(by, columns)
        elif self.count:
            held = {name: np.concatenate([part[name] for part in self._held]) for name in {*by, *columns}}
            order = _order([held[name] for name in by])
            for start in range(0, self.count, BATCH):
                part = order[start : start + BATCH]
                yield {name: held[name][part] for name in columns}

    def close(self) -> None:
        """Forget the rows."""
        self._held.clear()
        if self._writer is not None:
            self._writer.close()
            self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self._folder / f"staged-{id(self):x}.parquet"

    def _spill(self) -> None:
        """Write what is held."""
        for columns in self._held:
            table = pa.table({name: pa.array(values) for name, values in columns.items()})
            if self._writer is None:
                load_duckdb(self.count)
                self._folder.mkdir(parents=True, exist_ok=True)
                self._arrived, schema = 0, table.schema.append(pa.field(_ARRIVAL, pa.int64()))
                self._writer = pq.ParquetWriter(self._path, schema, compression="lz4", use_dictionary=False)
            arrival = np.arange(self._arrived, self._arrived + table.num_rows)
            self._arrived += table.num_rows
            self._writer.write_table(table.append_column(_ARRIVAL, pa.array(arrival)))
        self._held.clear()

    def _sorted_on_disk(self, by: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        duckdb = load_duckdb(self.count)
        told = {"memory_limit": _MEMORY, "temp_directory": str(self._folder)}
        with duckdb.connect(config=told) as connection:
            connection.execute("SET enable_progress_bar = false")
            order = ", ".join(f'"{name}"' for name in (*by, _ARRIVAL))
            wanted = ", ".join(f'"{name}"' for name in columns)
            found = connection.sql(f"SELECT {wanted} FROM read_parquet(?) ORDER BY {order}", params=[str(self._path)])
            for batch in found.to_arrow_reader(BATCH):
                if batch.num_rows:
                    yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in columns}


def load_duckdb(rows: int) -> Any:
    """Return DuckDB; HistoryTooLarge where it is not installed."""
    try:
        import duckdb
    except ModuleNotFoundError as absent:
        raise HistoryTooLarge(
            f"the history has {rows:,} rows or more, and {IN_MEMORY:,} are sorted in memory; "
            "more need DuckDB: pip install 'headrace[backfill]'"
        ) from absent
    return duckdb


def _order(columns: Sequence[np.ndarray]) -> np.ndarray:
    if columns[0].dtype == object:  # text: compared once per distinct one
        columns = [np.unique(columns[0], return_inverse=True)[1], *columns[1:]]
    return np.lexsort(columns[::-1])

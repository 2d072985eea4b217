"""Rows of float64 that are written in any order and read back in that of their numbers, out of core.

A bucket is a file of the rows whose numbers lie in one range of SIZE; rows are appended to
it as they come, each with its number, and sorted out when the bucket is read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Rows of a bucket.
SIZE = 1 << 18


class Buckets:
    """Values of `columns` columns under `folder`, in files that begin with `name`."""

    def __init__(self, folder: Path, name: str, columns: int) -> None:
        self._folder, self._name = folder, name
        self._dtype = np.dtype([("row", "<i8"), ("values", "<f8", (columns,))])

    def put(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write values [n, columns] of the rows with these numbers."""
        if not rows.size:
            return
        bucket = rows // SIZE
        order = np.argsort(bucket, kind="stable")
        records = np.empty(rows.size, dtype=self._dtype)
        records["row"], records["values"] = rows[order], values[order]
        starts = np.flatnonzero(np.diff(bucket[order], prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), rows.size], strict=True):
            with self._path(int(bucket[order[start]])).open("ab") as file:
                records[start:stop].tofile(file)

    def take(self, bucket: int, out: np.ndarray) -> np.ndarray:
        """Put a bucket's values over `out` [its rows, columns], remove its file and return `out`."""
        path = self._path(bucket)
        if path.exists():
            records = np.fromfile(path, dtype=self._dtype)
            out[records["row"] - bucket * SIZE] = records["values"]
            path.unlink()
        return out

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{self._name}-{bucket:05d}.rows"

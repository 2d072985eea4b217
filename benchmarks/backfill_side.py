"""One side of the backfill benchmark in a process of its own: `python -m benchmarks.backfill_side SIDE FILE FOLDER`.

Prints the seconds of CPU it took, from the file on, and by how many MiB memory grew at most.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from applications.fraud.app import APP
from benchmarks.frame_side import most_mib
from benchmarks.ground import NOW_MS, pipeline_of
from feature_pipelines.backfill import backfill
from feature_pipelines.bootstrap import fill
from headrace.stores.embedded import EmbeddedStore


def store(file: Path, folder: Path) -> Callable[[], object]:
    """Return the work of filling a new store from a file's payments."""

    def work() -> None:
        with closing(EmbeddedStore(folder / "store", durable=False)) as kept:
            fill(pipeline_of(file, "payments", kept, folder / "letters"), file, folder=folder)

    return work


def rows(file: Path, folder: Path) -> Callable[[], object]:
    """Return the work of writing a file's rows with their features."""
    return lambda: backfill(APP, file, file, folder / "rows.parquet", now_ms=NOW_MS)


def pandas(file: Path, folder: Path) -> Callable[[], object]:
    """Return the work of reading and rolling over a file's events."""
    import pyarrow.parquet as pq

    from benchmarks.peers.pandas_windows import rolling

    return lambda: rolling(pq.read_table(file, columns=["cc_num", "datetime", "amount"]).to_pandas())


def main() -> None:
    """Run one side and print what it took."""
    sides = {"events into a store": store, "rows with features": rows, "pandas": pandas}
    with tempfile.TemporaryDirectory(dir=sys.argv[3]) as folder:
        work = sides[sys.argv[1]](Path(sys.argv[2]), Path(folder))
        before = most_mib()
        began = time.process_time()
        work()
        print(time.process_time() - began, most_mib() - before)


if __name__ == "__main__":
    main()

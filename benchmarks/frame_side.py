"""One side of the training-frame benchmark in a process of its own: `python -m benchmarks.frame_side SIDE FILE`.

Prints the seconds of CPU it took, which are those of the clock on a quiet core, and by how many MiB memory grew at most
beyond the loaded events.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from applications.fraud.features import CARD_ACTIVITY, REQUEST, WINDOWED
from feature_pipelines.files import as_numpy
from headrace.features import FeatureView
from headrace.stores.offline import training_frame

COLUMNS = ["cc_num", "datetime", "amount", "latitude", "longitude"]


def headrace(file: Path) -> Callable[[], object]:
    """Return the work of making a frame of a file's events, which are loaded already."""
    table = pq.read_table(file, columns=[*COLUMNS, "terminal_id"])
    events = {name: as_numpy(table.column(name)) for name in table.column_names}
    windows = tuple(source for source in WINDOWED if source.startswith(CARD_ACTIVITY.name))
    view = FeatureView("card", 1, tuple(c for c in REQUEST if c.name in events), (CARD_ACTIVITY,), windows)
    return lambda: training_frame(view, events, {"payments": events})


def pandas(file: Path) -> Callable[[], object]:
    """Return the work of rolling over a file's events, which are loaded already."""
    from benchmarks.peers.pandas_windows import rolling

    table = pq.read_table(file, columns=["cc_num", "datetime", "amount"]).to_pandas()
    return lambda: rolling(table)


def main() -> None:
    """Run one side and print what it took."""
    work = {"headrace": headrace, "pandas": pandas}[sys.argv[1]](Path(sys.argv[2]))
    before = most_mib()
    began = time.process_time()
    work()
    print(time.process_time() - began, most_mib() - before)


def most_mib() -> float:
    """Return the most memory this process has had, in MiB."""
    # Not getrusage: its peak is that of the process this one was started from, where that is larger.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()

"""Events into windows: how many a second one core folds and commits, from a Parquet file into the store."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pyarrow.parquet as pq

from applications.fraud.features import CARD_ACTIVITY
from benchmarks.ground import Ground, pipeline_of
from benchmarks.peers.plain_windows import PlainWindows
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns, wall_s
from feature_pipelines.files import as_numpy
from headrace.stores.embedded import EmbeddedStore

RELAXED, PLAIN, BYTEWAX = "headrace, no fsync", "plain dict per event", "bytewax"
NOTES = """
Five windows of ten minutes to thirty days, five statistics, 3,000 cards, one core. Headrace reads Parquet, decodes,
folds, and commits tiles and offsets to LMDB in batches of 32,768, with fsync and without. The plain peer reads the same
file and folds into a dict; bytewax folds events that are decoded already into tumbling windows of the same lengths
(sliding ones, closer to what is read here, cost it more). Neither keeps anything: no store, no offsets, no recovery.
Peers run over the first 20,000 events.
"""
_FEW = 20_000
_READ = ["cc_num", "datetime", "amount", "latitude", "longitude"]


@benchmark("stream", "Events into five windows on one core, from Parquet into the store")
def stream(ground: Ground) -> Result:
    """Measure events per second."""
    result, count = Result(NOTES), ground.scale.events
    runs = itertools.count()
    few = min(_FEW, count)
    sides = {
        OURS: lambda: count / wall_s(lambda: _piped(ground, next(runs), durable=True)),
        RELAXED: lambda: count / wall_s(lambda: _piped(ground, next(runs), durable=False)),
        PLAIN: lambda: _plain(ground, few),
    }
    if find_spec("bytewax"):
        sides[BYTEWAX] = lambda: few / _bytewax(ground, few)
    else:
        result.notes += "bytewax was not measured: it is not installed here.\n"
    taken = {side: Samples() for side in sides}
    ground.parquet  # noqa: B018  written before the clock starts
    with pinned(MEASURED):
        for side, work in turns(sides, ground.scale.rounds):
            taken[side].values.append(work())
    result.figures.append(Figure(f"{count:,} events", "events", "1/s", taken, "higher", PLAIN, 200_000.0, "value"))
    if BYTEWAX in taken:
        result.figures.append(Figure(f"{count:,} events", "beside bytewax", "1/s", taken, "higher", BYTEWAX))
    return result


def _piped(ground: Ground, run: int, *, durable: bool) -> None:
    path = ground.home / f"stream-{run}"
    store = EmbeddedStore(path, durable=durable)
    pipeline_of(ground.parquet, "payments", store, path / "letters").run()
    store.close()
    shutil.rmtree(path)


def _plain(ground: Ground, count: int) -> float:
    windows = PlainWindows(CARD_ACTIVITY.windows)

    def fold() -> None:
        table = pq.read_table(ground.parquet, columns=_READ).slice(0, count)
        columns = [as_numpy(table.column(name)).tolist() for name in _READ]
        for row in zip(*columns, strict=True):
            windows.add(dict(zip(_READ, row, strict=True)))

    return count / wall_s(fold)


def _bytewax(ground: Ground, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.peers.bytewax_windows", str(ground.parquet), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])

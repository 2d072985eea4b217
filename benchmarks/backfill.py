"""History from a file: into an online store, and into rows with features, beside rolling windows in pandas."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.ground import Ground, payments, write_parquet
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns

PANDAS = "pandas"
LARGE = 1_750_000
STORE, ROWS = "events into a store", "rows with features"
NOTES = """
Everything from a Parquet file on. *Events into a store* is `headrace pipeline bootstrap`: decode, leave out repeated
ids, sort, fold into the tiles of five windows, write the store. *Rows with features* is `headrace backfill` of the
fraud view: the events are the spine, both groups and the on-demand features are computed, 44 columns are written.
pandas reads three columns and rolls the card's five windows and five statistics, and writes nothing. Each side runs in
a process of its own on one core; events are per second of its CPU time, memory is the growth of its peak.
"""


@benchmark("backfill", "History into a store and into rows, beside pandas rolling")
def backfill(ground: Ground) -> Result:
    """Measure events per second of CPU time and peak memory."""
    result = Result(NOTES)
    sides = [STORE, ROWS, *([PANDAS] if find_spec("pandas") else [])]
    if PANDAS not in sides:
        result.notes += "pandas was not measured: it is not installed here.\n"
    rows, rounds, file = ground.scale.events, min(ground.scale.rounds, 3), ground.parquet
    if not ground.scale.quick:
        rows, rounds, file = LARGE, 1, write_parquet(payments(LARGE), ground.home / "history.parquet")
    rate, memory = {side: Samples() for side in sides}, {side: Samples() for side in sides}
    for side, _ in turns(dict.fromkeys(sides), rounds):
        seconds, grown = _run(side, file, ground.home)
        rate[side].values.append(rows / seconds)
        memory[side].values.append(max(grown, 0.1))
    for what in (STORE, ROWS):
        case = f"{what}, {rows:,} events"
        rates, grown_by = ({OURS: of[what], **_of_pandas(of)} for of in (rate, memory))
        result.figures.append(Figure(case, "events", "1/s", rates, "higher", PANDAS, 10.0))
        result.figures.append(Figure(case, "memory", "MiB", grown_by, "lower", PANDAS))
    return result


def _of_pandas(samples: dict[str, Samples]) -> dict[str, Samples]:
    return {PANDAS: samples[PANDAS]} if PANDAS in samples else {}


def _run(side: str, file: Path, home: Path) -> tuple[float, float]:
    with pinned(MEASURED):
        command = [sys.executable, "-m", "benchmarks.backfill_side", side, str(file), str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, grown = done.stdout.split()
    return float(seconds), float(grown)

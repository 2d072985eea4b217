"""Training frames: what serving would have said at every past event, beside rolling windows in pandas."""

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
NOTES = """
Every event is a row; five windows of the card, five statistics. pandas rolls a window per card and length, closed
before the row; Headrace sorts the events once and reads each window as a range of them. The windows' tails differ by
up to a tile. Each side runs in a process of its own; rows are per second of its CPU time,
memory is the growth of its peak beyond the loaded events.
"""


@benchmark("frame", "Training frames of five windows, beside pandas rolling")
def frame(ground: Ground) -> Result:
    """Measure rows per second and peak memory."""
    result = Result(NOTES)
    sides = [OURS, PANDAS] if find_spec("pandas") else [OURS]
    if PANDAS not in sides:
        result.notes += "pandas was not measured: it is not installed here.\n"
    sizes = {ground.parquet: (ground.scale.events, min(ground.scale.rounds, 3))}
    if not ground.scale.quick:
        sizes[write_parquet(payments(LARGE), ground.home / "large.parquet")] = (LARGE, 1)
    for file, (rows, rounds) in sizes.items():
        rate, memory = {s: Samples() for s in sides}, {s: Samples() for s in sides}
        for side, _ in turns(dict.fromkeys(sides), rounds):
            seconds, grown = _run(side, file)
            rate[side].values.append(rows / seconds)
            memory[side].values.append(max(grown, 0.1))
        case = f"{rows:,} rows"
        result.figures.append(Figure(case, "rows", "1/s", rate, "higher", PANDAS, 10.0))
        result.figures.append(Figure(case, "memory", "MiB", memory, "lower", PANDAS))
    return result


def _run(side: str, file: Path) -> tuple[float, float]:
    with pinned(MEASURED):
        command = [sys.executable, "-m", "benchmarks.frame_side", side, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, grown = done.stdout.split()
    return float(seconds), float(grown)

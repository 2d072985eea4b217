"""From an event to a store that serves it: one process writes as events happen, another reads."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from benchmarks.ground import Ground
from benchmarks.processes import MEASURED, OTHERS, pinned, watched
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns
from benchmarks.writer import PARTITION, STREAM
from headrace.stores.embedded import EmbeddedStore

RATE = 1000.0
RELAXED = "headrace, no fsync"
_START_S = 3.0  # for the writer to be up before the first event
NOTES = """
1,000 events a second, one process writing and another reading, on a core each. An event is servable once a reader's
transaction sees the offset after it, which is committed together with its tiles. The times of events are those of a
steady schedule, so that a writer that falls behind is charged for it. There is no peer: the aims are of the values.
"""


@benchmark("freshness", "From an event to a store that serves it, at 1,000 events a second")
def freshness(ground: Ground) -> Result:
    """Measure how long events take until a reader in another process can be served with them."""
    sides = {OURS: "durable", RELAXED: "relaxed"}
    late: dict[str, dict[str, Samples]] = {p: {side: Samples() for side in sides} for p in ("p50", "p99")}
    count = int(RATE * ground.scale.seconds * 2) + 10
    for at, (side, durable) in enumerate(turns(sides, min(ground.scale.rounds, 3))):
        found = _delays_ms(ground, f"fresh-{at}", durable, count)
        late["p50"][side].values.append(float(np.percentile(found, 50)))
        late["p99"][side].values.append(float(np.percentile(found, 99)))
    case = f"{count:,} events"
    return Result(
        NOTES,
        [
            Figure(case, "p50", "ms", late["p50"], aim=1.0, aim_of="value"),
            Figure(case, "p99", "ms", late["p99"], aim=10.0, aim_of="value"),
        ],
    )


def _delays_ms(ground: Ground, name: str, durable: str, count: int) -> np.ndarray:
    path, start = ground.home / name, time.monotonic() + _START_S
    told = [str(path), str(RATE), str(count), repr(start), durable]
    with pinned(MEASURED):
        writer = subprocess.Popen([sys.executable, "-m", "benchmarks.writer", *told])
    try:
        with pinned(OTHERS):
            store = EmbeddedStore(path, readonly=True)
            seen = watched(lambda: store.offsets(STREAM).get(PARTITION, 0), writer, start, count)
            store.close()
    finally:
        writer.terminate()
        writer.wait()
    return (seen - (start + np.arange(count) / RATE)) * 1e3

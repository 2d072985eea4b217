"""From the production of an event to a store that serves it, through a broker, at 1,000 events a second."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.ground import Ground
from benchmarks.kafka_side import PARTITION, STREAM, TOPIC
from benchmarks.processes import MEASURED, OTHERS, pinned, watched
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples
from feature_pipelines.kafka import KafkaAddress, create_topic
from headrace.cli.broker import local_broker
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import StoreUnavailable

RATE = 1000.0
BROKER, BEYOND = "the broker alone", "headrace, beyond the broker"
_START_S = 4.0  # for every process to be up before the first event
_LEAST_MS = 0.001  # what a difference below the clock's noise is said to be
_LOOK_S = 0.0001  # how long the reader rests between two looks
NOTES = """
1,000 JSON events a second through noida-db on this machine, one partition, fsync on. An event is readable once a
reader's transaction in another process sees the offset after it, which is committed together with its tiles; the
reader looks about every 0.15 ms. The broker alone is a consumer in the same run, which does nothing with what it
takes. The pipeline has a core of its own; the broker, the producer, the consumer and the reader share the other.
"""


@benchmark("kafka-freshness", "From production to a store that serves it, through Kafka, at 1,000 events a second")
def kafka_freshness(ground: Ground) -> Result:
    """Measure how long events take until a reader in another process can be served with them."""
    taken = {name: {side: Samples() for side in (OURS, BROKER, BEYOND)} for name in ("p50", "p99")}
    count = int(RATE * ground.scale.seconds * 4) + 10
    for at in range(min(ground.scale.rounds, 3)):
        readable, consumed = _measured(ground, f"kafka-fresh-{at}", count)
        for name, share in (("p50", 50), ("p99", 99)):
            ours, broker = (float(np.percentile(times, share)) for times in (readable, consumed))
            taken[name][OURS].values.append(ours)
            taken[name][BROKER].values.append(broker)
            taken[name][BEYOND].values.append(max(ours - broker, _LEAST_MS))
    case = f"{count:,} events"
    return Result(
        NOTES,
        [
            Figure(case, "p50", "ms", taken["p50"]),
            Figure(case, "p99", "ms", taken["p99"]),
            Figure(case, "p50 beyond the broker", "ms", {OURS: taken["p50"][BEYOND]}, aim=1.0, aim_of="value"),
            Figure(case, "p99 beyond the broker", "ms", {OURS: taken["p99"][BEYOND]}, aim=10.0, aim_of="value"),
        ],
    )


def _measured(ground: Ground, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how long each event took to be readable, and to be consumed, in milliseconds."""
    home = ground.home / name
    with pinned(OTHERS), local_broker(home / "broker") as servers:
        create_topic(KafkaAddress(servers, TOPIC))
        start = time.monotonic() + _START_S
        running = [_side(role, servers, home / f"{role}.npy", count, start) for role in ("produce", "consume")]
        with pinned(MEASURED):
            pipeline = _side("pipe", servers, home / "store", count, start)
        try:
            store = EmbeddedStore(home / "store", readonly=True)
            seen = watched(lambda: _stands(store), pipeline, start, count, _LOOK_S)
            store.close()
            for process in running:
                process.wait(60)
        finally:
            for process in (*running, pipeline):
                process.terminate()
                process.wait()
    sent = np.load(home / "produce.npy")
    return (seen - sent) * 1e3, (np.load(home / "consume.npy") - sent) * 1e3


def _side(role: str, servers: str, out: Path, count: int, start: float) -> subprocess.Popen[bytes]:
    told = [role, servers, str(out), str(count), repr(RATE), repr(start)]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.kafka_side", *told], stdout=subprocess.DEVNULL)


def _stands(store: EmbeddedStore) -> int:
    try:
        return store.offsets(STREAM).get(PARTITION, 0)
    except StoreUnavailable:  # the pipeline has not made it yet
        return 0

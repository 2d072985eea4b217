"""Events into windows on one core: from a file and from Kafka, into the store with fsync, beside bytewax."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.ground import Ground, payments, pipeline_of, write_parquet
from benchmarks.kafka_side import TOPIC, messages, skewed
from benchmarks.processes import MEASURED, OTHERS, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns, wall_s
from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli.broker import local_broker
from headrace.stores.embedded import EmbeddedStore

KAFKA, BYTEWAX = "headrace, from Kafka", "bytewax"
NOTES = """
Events of 2,000 cards by Zipf's law, five windows of ten minutes to thirty days, five statistics, ids remembered for
the stream's horizon, fsync on. The measured process has one core, its client's threads included; the broker
(noida-db, one partition, 200-byte JSON) has the other. The file is Parquet. bytewax folds events that are decoded
already into tumbling windows of the same lengths and keeps nothing; it runs over the first 20,000 events.
"""
_FEW = 20_000


@benchmark("kafka", "Events into five windows on one core, from a file and from Kafka into the store")
def kafka(ground: Ground) -> Result:
    """Measure events per second."""
    result, count, few = Result(NOTES), ground.scale.events, min(_FEW, ground.scale.events)
    parquet = write_parquet(skewed(payments(count)), ground.home / "skewed.parquet")
    runs = itertools.count()
    with pinned(OTHERS), local_broker(ground.home / "kafka-broker") as servers:
        address = KafkaAddress(servers, TOPIC)
        create_topic(address)
        produce(address, messages(count))
        sides: dict[str, Callable[[], float]] = {
            OURS: lambda: count / wall_s(lambda: _from_file(ground.home / f"file-{next(runs)}", parquet)),
            KAFKA: lambda: _printed(
                [
                    "benchmarks.kafka_side",
                    "pipe",
                    servers,
                    str(ground.home / f"kafka-{next(runs)}"),
                    str(count),
                    "0",
                    "0",
                ]
            ),
        }
        if find_spec("bytewax"):
            sides[BYTEWAX] = lambda: few / _printed(["benchmarks.peers.bytewax_windows", str(parquet), str(few)])
        else:
            result.notes += "bytewax was not measured: it is not installed here.\n"
        taken = {side: Samples() for side in sides}
        with pinned(MEASURED):
            for side, work in turns(sides, ground.scale.rounds):
                taken[side].values.append(work())
    peer = BYTEWAX if BYTEWAX in taken else ""
    from_kafka = {OURS: taken[KAFKA], **({BYTEWAX: taken[BYTEWAX]} if peer else {})}
    case = f"{count:,} events"
    result.figures += [
        Figure(case, "from a file", "1/s", taken, "higher", peer, 200_000.0, "value"),
        Figure(case, "from Kafka", "1/s", from_kafka, "higher", peer, 150_000.0, "value"),
    ]
    return result


def _from_file(path: Path, parquet: Path) -> None:
    store = EmbeddedStore(path)
    pipeline_of(parquet, "payments", store, path / "letters").run()
    store.close()
    shutil.rmtree(path)


def _printed(module: list[str]) -> float:
    done = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])

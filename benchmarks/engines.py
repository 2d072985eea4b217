"""Engines side by side: the same events into the same store through each that is installed here."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from benchmarks.ground import Ground
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns, wall_s
from feature_pipelines.engines import Job, load_engine

BYTEWAX, SPARK = "bytewax", "spark"
NOTES = """
The `fraud` application's five windows and five statistics over payments with an id, from Parquet into LMDB, on one
core, each engine with its state kept for recovery. Local commits tiles, offsets and ids in one transaction, with fsync.
Bytewax keeps buckets of records in its recovery store, once per epoch of 10 s. Spark (its session started before the
clock, JVM and Python workers on the same core) keeps them in RocksDB, once per micro-batch of up to 131,072 events.
"""
_SETTINGS = {
    "spark.master": "local[1]",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "1",
}


@benchmark("engines", "The same events through every engine on one core, from Parquet into the store")
def engines(ground: Ground) -> Result:
    """Measure events per second of each engine."""
    result, count = Result(NOTES), ground.scale.events
    runs = itertools.count()
    sides: dict[str, Callable[[], float]] = {OURS: lambda: count / _seconds(ground, "local", next(runs))}
    ground.parquet  # noqa: B018  written before the clock starts
    with pinned(MEASURED), ExitStack() as kept:
        if find_spec("bytewax"):
            sides[BYTEWAX] = lambda: count / _seconds(ground, BYTEWAX, next(runs))
        if find_spec("pyspark"):
            kept.enter_context(_spark(_job(ground, 0, _SETTINGS)))
            sides[SPARK] = lambda: count / _seconds(ground, SPARK, next(runs), _SETTINGS)
        taken = {side: Samples() for side in sides}
        for side, work in turns(sides, ground.scale.rounds):
            taken[side].values.append(work())
    for engine in (BYTEWAX, SPARK):
        if engine in taken:
            result.figures.append(Figure(f"{count:,} events", f"beside {engine}", "1/s", taken, "higher", engine))
        else:
            result.notes += f"{engine} was not measured: it is not installed here.\n"
    return result


def _seconds(ground: Ground, engine: str, run: int, options: dict[str, str] | None = None) -> float:
    job = _job(ground, run, options or {})
    taken = wall_s(lambda: load_engine(engine).run(job, lambda: False))
    shutil.rmtree(job.store)
    return taken


def _job(ground: Ground, run: int, options: dict[str, str]) -> Job:
    store = ground.home / f"engines-{run}"
    return Job("fraud", "payments", str(ground.parquet), store, to_end=True, options=options)


@contextmanager
def _spark(job: Job) -> Iterator[None]:
    from feature_pipelines.engines.spark import session  # an extra: loaded where it is installed

    with session(job):
        yield

"""Rows to a Hopsworks cluster, each acknowledged: our writer and a whole pipeline beside the SDK, same broker."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ground import Ground, payments, pipeline_of, write_parquet
from benchmarks.processes import MEASURED, OTHERS, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns, undisturbed
from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.hopsworks.opening import writer_in
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import Declared, FeatureGroup
from headrace.hopsworks.rows import rows_of, windowed
from headrace.hopsworks.session import HopsworksSettings, Session, connect
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn

PIPELINE, SDK = "headrace, whole pipeline", "hopsworks sdk"
AIM = 10_000.0  # rows per second of one process
PASSES, PART, BATCH, MOST_EVENTS = 4, 1_000, 2_048, 20_480
_LATER_S = 1e6
NOTES = """
Rows of 32 columns, one of them a record of up to 3 KB, to the topic of a feature group until every replica has it: wall
time, and CPU time of the process. It has one core, its client's threads included; the broker (noida-db, one partition)
has the other. The SDK: multi_part_insert of ready-made data frames of 1,000 rows, online only, into a feature group
without on-demand functions. Headrace: records to rows, Avro, and the topic. The whole pipeline reads up to 20,480
payments from Parquet, folds them into five windows in transactions of 2,048 events, and commits each to the store once
its rows are acknowledged.
"""


@dataclass(frozen=True, slots=True)
class _Took:
    rows: int
    wall_s: float
    cpu_s: float


def _took(work: Callable[[], int]) -> _Took:
    with undisturbed():
        wall, cpu = time.perf_counter(), time.process_time()
        rows = work()
        return _Took(rows, time.perf_counter() - wall, time.process_time() - cpu)


@benchmark("hopsworks-write", "Rows to a Hopsworks cluster's feature group, each acknowledged")
def hopsworks_write(ground: Ground) -> Result:
    """Measure rows per second."""
    result = Result(NOTES)
    group, keys, records = _held(ground)
    with pinned(OTHERS), StandIn.started(ground.home / "written") as cluster, ExitStack() as until:
        cluster.delay_ingestion(_LATER_S)  # what applies the rows is not measured, and would take the broker's core
        session = until.enter_context(connect(HopsworksSettings.of(environment(cluster))))
        declared = Declared.of(ground.app)
        apply(session, declared)
        of = next(found for found in declared.groups if found.of is group)
        with pinned(MEASURED):
            writer = writer_in(session, ground.app, [group])
            until.callback(writer.close)
            sides: dict[str, Callable[[], _Took]] = {
                OURS: lambda: _took(lambda: _written(writer, group, keys, records)),
                PIPELINE: _piped(ground, writer),
                SDK: _inserted(session, of, keys, records),
            }
            for measure in sides.values():
                measure()  # connections are opened
            taken: dict[str, list[_Took]] = {side: [] for side in sides}
            for side, measure in turns(sides, ground.scale.rounds):
                taken[side].append(measure())
    rates = {side: Samples([took.rows / took.wall_s for took in found]) for side, found in taken.items()}
    costs = {side: Samples([took.cpu_s / took.rows * 1e6 for took in found]) for side, found in taken.items()}
    case = f"{keys.size:,} keys"
    for of_pipeline, what in ((False, "rows"), (True, "rows of a whole pipeline")):
        pair = {OURS: PIPELINE if of_pipeline else OURS, SDK: SDK}
        rate, cost = ({name: found[side] for name, side in pair.items()} for found in (rates, costs))
        result.figures += [
            Figure(case, f"{what} acknowledged", "1/s", rate, "higher", SDK, AIM, "value"),
            Figure(case, f"CPU of {what}", "us", cost, "lower", SDK),
        ]
    return result


def _held(ground: Ground) -> tuple[WindowedGroup, np.ndarray, np.ndarray]:
    group = ground.app.groups[0]
    store, keys = EmbeddedStore(ground.store, readonly=True), np.unique(ground.events[group.key])
    records = store.records(Lookup(group, keys)).copy()
    store.close()
    return group, keys, records


def _written(writer: FeatureGroupWriter, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> int:
    return sum(writer.write({group.name: writer.encode(group, keys, records)}) for _ in range(PASSES))


def _piped(ground: Ground, writer: FeatureGroupWriter) -> Callable[[], _Took]:
    runs = itertools.count()
    parquet = write_parquet(payments(min(ground.scale.events, MOST_EVENTS)), ground.home / "few.parquet")

    def measured() -> _Took:
        path = ground.home / f"mirrored-{next(runs)}"
        held = EmbeddedStore(path)
        store = MirroredStore(held, writer)
        pipeline = pipeline_of(parquet, "payments", store, path / "letters")

        def run() -> int:
            pipeline.run(BATCH)
            return store.written

        took = _took(run)
        held.close()
        shutil.rmtree(path)
        return took

    return measured


def _inserted(session: Session, of: FeatureGroup, keys: np.ndarray, records: np.ndarray) -> Callable[[], _Took]:
    from hsfs.feature import Feature

    with _quiet():
        target = session.feature_store.create_feature_group(
            "written_by_sdk",
            version=1,
            primary_key=list(of.primary_key),
            event_time=of.event_time,
            online_enabled=True,
            stream=True,
            time_travel_format="NONE",
            features=[Feature(f.name, f.type, online_type=f.online_type or None) for f in of.features],
        )
        target.save()
    frame = pd.DataFrame(dict(rows_of(of, keys, records)))
    frame[windowed(of).time] = pd.to_datetime(frame[windowed(of).time], unit="ms", utc=True)
    parts = [frame.iloc[at : at + PART] for at in range(0, keys.size, PART)]

    def insert() -> int:
        with target.multi_part_insert() as writer:
            for part in parts:
                writer.insert(part, storage="online")
        return keys.size

    def measured() -> _Took:
        with _quiet():
            return _took(insert)

    return measured


@contextmanager
def _quiet() -> Iterator[Any]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        yield said

"""Reads of a Hopsworks cluster with everything computed on demand: our reader of RonDB beside the SDK, same server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import uvloop

from benchmarks.ground import NOW_MS, Ground
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, cpu_us, turns, undisturbed
from headrace.features import Plan
from headrace.features.rows import Rows, conform
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.functions import request_parameter
from headrace.hopsworks.opening import StoreURL, opened
from headrace.hopsworks.session import HopsworksSettings, Session, connect
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup, OnlineStore, ReadDeadlinePassed
from headrace.stores.records import fetch
from tests.headrace.hopsworks.filled import cluster_of, environment, fill
from tests.hopsworks import StandIn

SDK, BY_SDK = "hopsworks sdk", "headrace by the sdk"
#: How many times less CPU than the SDK.
AIMS = {1: 4.0, 50: 8.0, 500: 10.0}
SIZES = (1, 50, 500)
DEADLINE_MS = 10
LATE = f"past a deadline of {DEADLINE_MS} ms"
NOTES = """
CPU time of the reading process for one read, the same stand-in of RonDB's REST server on the other core.
Headrace: keys and request columns to the model's matrix, tiles merged at each request's instant, eleven functions
computed on demand. The SDK: the view of ready-made columns with the same functions as Hopsworks UDFs, to its lists.
Past a deadline: by how much the latest of 50 reads ended after its deadline, of a server that answers far too late.
"Headrace by the SDK" reads the tiles through the SDK, without UDFs, and computes as Headrace does.
"""


@benchmark("hopsworks-read", "Stored and on-demand features of many keys from a Hopsworks cluster")
def hopsworks_read(ground: Ground) -> Result:
    """Measure the CPU time of reads of 1 to 500 keys."""
    result = Result(NOTES)
    with filled_cluster(ground) as cluster, _opened(ground, cluster) as (rondb, by_sdk, view), pinned(MEASURED):
        for rows in SIZES if ground.scale.name != "tiny" else ground.scale.sizes:
            sides = _sides(ground, rondb, by_sdk, view, rows)
            taken = {side: Samples() for side in sides}
            for side, measure in turns(sides, ground.scale.rounds):
                taken[side].values.append(measure(ground.scale.seconds / 3))
            case = f"{rows} {'key' if rows == 1 else 'keys'}"
            result.figures.append(Figure(case, "CPU", "us", taken, "lower", SDK, AIMS.get(rows)))
        cluster.faults.set("rdrs", delay_ms=20 * DEADLINE_MS)
        late = Samples([_past_deadline_ms(ground, rondb) for _ in range(ground.scale.rounds)])
        result.figures.append(Figure(LATE, "latest end of 50", "ms", {OURS: late}, aim=5.0, aim_of="value"))
    return result


@contextmanager
def filled_cluster(ground: Ground) -> Iterator[StandIn]:
    """Give a stand-in cluster that holds the rows of the ground's store."""
    store = EmbeddedStore(ground.store, readonly=True)
    held = {}
    for group in ground.app.groups:
        keys = np.unique(ground.events[group.key])
        kept = store.files.database(f"group:{group.name}".encode())
        with store.files.begin() as txn:
            held[group.name] = (keys, fetch(txn, kept, group, keys))
    store.close()
    with cluster_of(ground.app, ground.home / "cluster") as cluster:
        fill(cluster, ground.app, held)
        yield cluster


@contextmanager
def _opened(ground: Ground, cluster: StandIn) -> Iterator[tuple[OnlineStore, OnlineStore, Any]]:
    declared, known = Declared.of(ground.app), environment(cluster)
    at = f"{cluster.host}:{cluster.rdrs_port}?tls=false"
    rondb = opened(StoreURL.of(f"hopsworks://{at}"), declared, known)
    by_sdk = opened(StoreURL.of(f"hopsworks-sdk://{at}"), declared, known)
    session: Session = connect(HopsworksSettings.of(known))
    view = session.feature_store.get_feature_view(declared.view.name, declared.view.version)
    rest = {"host": cluster.host, "port": cluster.rdrs_port, "use_ssl": False}
    view.init_serving(1, init_sql_client=False, init_rest_client=True, config_rest_client=rest, reset_rest_client=True)
    try:
        yield rondb, by_sdk, view
    finally:
        rondb.close()
        by_sdk.close()
        session.close()


def _sides(
    ground: Ground, rondb: OnlineStore, by_sdk: OnlineStore, view: Any, rows: int
) -> dict[str, Callable[[float], float]]:
    plan, columns = Plan.of(ground.app.view), ground.asked(rows, 0)
    asked = conform(ground.app.view, columns, NOW_MS)
    entries, given = _sdk_request(ground, columns)
    how = {"return_type": "list", "allow_missing": True}

    def theirs() -> list[list[Any]]:
        if rows == 1:  # their call for one is the cheaper one
            return [view.get_feature_vector(serving_keys=entries[0], request_parameters=given[0], **how)]
        return view.get_feature_vectors(serving_keys=entries, request_parameters=given, **how)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_matrix(ground, plan, rondb, asked))
        rondb.close()
    _check(ground, view, theirs(), found)
    return {
        OURS: lambda seconds: _cpu_us(lambda: _matrix(ground, plan, rondb, asked), rondb, seconds),
        BY_SDK: lambda seconds: _cpu_us(lambda: _matrix(ground, plan, by_sdk, asked), None, seconds),
        SDK: lambda seconds: cpu_us(theirs, seconds),
    }


async def _matrix(ground: Ground, plan: Plan, store: OnlineStore, rows: Rows) -> np.ndarray:
    groups = ground.app.groups
    blocks = await store.read([Lookup(group, rows.columns[group.key]) for group in groups], rows.as_of)
    values = {group.name: block.values for group, block in zip(groups, blocks, strict=True)}
    return plan.assemble(rows.count, rows.columns, values)


def _cpu_us(work: Callable[[], Awaitable[Any]], store: OnlineStore | None, seconds: float) -> float:
    async def measured() -> float:
        await work()  # connections are opened
        began, calls = time.process_time(), 0
        while time.process_time() - began < seconds:
            await work()
            calls += 1
        taken = (time.process_time() - began) / calls * 1e6
        if store is not None:
            store.close()
        return taken

    with undisturbed(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())


def _past_deadline_ms(ground: Ground, store: OnlineStore) -> float:
    """Return by how much the latest of 50 reads ended past its deadline; the server answers none of them in time."""
    lookups = [Lookup(group, ground.asked(1, 0)[group.key]) for group in ground.app.groups]

    async def latest() -> float:
        loop, ends = asyncio.get_running_loop(), []
        for _ in range(50):
            deadline = loop.time() + DEADLINE_MS / 1e3
            with suppress(ReadDeadlinePassed):
                await store.read(lookups, np.full(1, NOW_MS), deadline)
            ends.append(loop.time() - deadline)
        store.close()
        return max(max(ends) * 1e3, 1e-3)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(latest())


def _sdk_request(ground: Ground, columns: dict[str, np.ndarray]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    declared = Declared.of(ground.app)
    keys = {f"{group.of.name}_{group.primary_key[0]}": columns[group.primary_key[0]] for group in declared.groups}
    owner = next(group for group in declared.groups if group.on_demand)
    given = {request_parameter(owner, name): values for name, values in columns.items() if name not in keys}
    return _rows(keys), _rows(given)


def _rows(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*(values.tolist() for values in columns.values()), strict=True)
    ]


def _check(ground: Ground, view: Any, theirs: list[list[Any]], ours: np.ndarray) -> None:
    """Raise ValueError where a function that reads the newest event alone has another value: costs do not compare."""
    names = [feature.name for feature in view.features if not feature.label]
    at = names.index("card_activity_distance_from_last_km")
    distance = np.array([np.nan if row[at] is None else row[at] for row in theirs], dtype=np.float64)
    own = ours[:, ground.app.view.names.index("distance_from_last_km")]
    if not np.allclose(np.where(np.isnan(distance), -1.0, distance), own, rtol=1e-4):
        raise ValueError("the SDK and Headrace compute different distances: their costs do not compare")

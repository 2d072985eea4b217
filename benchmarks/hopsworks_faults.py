"""A Hopsworks cluster that fails on the wire: how long reads wait, the longest too, and how soon it is found again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import uvloop

from benchmarks.ground import NOW_MS, Ground
from benchmarks.hopsworks_read import filled_cluster
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, opened
from headrace.settings import TransformerSettings
from headrace.stores.online import Lookup, OnlineStore, StoreUnavailable
from tests.headrace.hopsworks.filled import environment
from tests.hopsworks import StandIn
from transformer.resilience import guarded

UNGUARDED = "without a guard"
FAULTS: dict[str, dict[str, Any]] = {
    "answers come 5 s late": {"delay_ms": 5_000},
    "answers are cut off": {"truncate": True},
    "answers say 503": {"status": 503},
    "nobody listens": {"listening": "closed"},
}
DEADLINE_MS, KEYS, PAUSE_S = 50.0, 25, 0.005
NOTES = """
One caller in a loop of its own, 25 keys of two groups, a deadline of 50 ms, 5 ms between reads. The guard is that of
`transformer` as it comes. A read counts from its call to its blocks or its refusal; the last fault ends when the
stand-in has been told so, and the cluster is found again when a read is answered.
"""


@dataclass(slots=True)
class _Waits:
    """Reads during a fault, and from its end to the first answer; milliseconds."""

    during: list[float] = field(default_factory=list)
    again: float = 0.0


@benchmark("hopsworks-faults", "Reads of a Hopsworks cluster that fails, and how soon it is found again")
def hopsworks_faults(ground: Ground) -> Result:
    """Measure every fault with the guard and without it."""
    result = Result(NOTES)
    seconds = 2 * ground.scale.seconds
    with filled_cluster(ground) as cluster, pinned(MEASURED):
        for fault, how in FAULTS.items():
            waits: dict[str, list[_Waits]] = {OURS: [], UNGUARDED: []}
            for side, _ in turns(dict.fromkeys(waits), ground.scale.rounds):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    store = _store(ground, cluster, guard=side == OURS)
                    waits[side].append(runner.run(_through(ground, cluster, store, how, seconds)))
                    store.close()
            typical = {side: Samples([median(one.during) for one in found]) for side, found in waits.items()}
            longest = {side: Samples([max(one.during) for one in found]) for side, found in waits.items()}
            again = {side: Samples([one.again for one in found]) for side, found in waits.items()}
            result.figures += [
                Figure(fault, "a read meanwhile", "ms", typical, "lower", UNGUARDED),
                Figure(fault, "the longest read", "ms", longest, "lower", "", DEADLINE_MS + 5, "value"),
                Figure(fault, "found again", "ms", again, "lower", "", 1_000.0, "value"),
            ]
    return result


def _store(ground: Ground, cluster: StandIn, *, guard: bool) -> OnlineStore:
    url = StoreURL.of(f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false")
    store = opened(url, Declared.of(ground.app), environment(cluster))
    return guarded(store, TransformerSettings(), ground.app.view.groups) if guard else store


async def _through(ground: Ground, cluster: StandIn, store: OnlineStore, how: dict[str, Any], seconds: float) -> _Waits:
    groups, waits = ground.app.view.groups, _Waits()
    columns = ground.asked(KEYS, 0)
    await _answered(store, groups, columns)
    await asyncio.to_thread(cluster.faults.set, "rdrs", **how)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        waits.during.append((await _read(store, groups, columns))[1])
        await asyncio.sleep(PAUSE_S)
    await asyncio.to_thread(cluster.faults.clear, "rdrs")
    waits.again = await _answered(store, groups, columns)
    return waits


async def _answered(store: OnlineStore, groups: Sequence[WindowedGroup], columns: dict[str, np.ndarray]) -> float:
    """Read until a read is answered; return after how many milliseconds it was."""
    began = time.perf_counter()
    while True:
        answered, _ = await _read(store, groups, columns)
        if answered:
            return (time.perf_counter() - began) * 1e3
        await asyncio.sleep(PAUSE_S)


async def _read(
    store: OnlineStore, groups: Sequence[WindowedGroup], columns: dict[str, np.ndarray]
) -> tuple[bool, float]:
    """Read once; return whether it was answered, and how many milliseconds it took."""
    began = time.perf_counter()
    lookups = [Lookup(group, columns[group.key]) for group in groups]
    deadline = asyncio.get_running_loop().time() + DEADLINE_MS / 1e3
    try:
        await store.read(lookups, np.full(KEYS, NOW_MS), deadline)
    except StoreUnavailable:
        return False, (time.perf_counter() - began) * 1e3
    return True, (time.perf_counter() - began) * 1e3

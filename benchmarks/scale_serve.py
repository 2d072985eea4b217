"""Requests against stores of a thousand keys to ten million: what the size of the store costs a request."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np

from applications.fraud.features import TERMINAL_RISK
from benchmarks.cells import P50, P99, PER_CPU_SECOND, measured
from benchmarks.ground import END_MS, PATIENT_MS, SEED, TERMINALS, Ground
from benchmarks.processes import MEASURED, OTHERS, anonymous_mb, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples
from benchmarks.scale import add
from benchmarks.serving import in_process, post
from feature_pipelines import tiles
from headrace.features.columns import DAY, MINUTE
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.stores.embedded import EmbeddedStore

NOTES = """
JSON requests to a transformer that runs its model itself, so that nothing else is in the time; its one core is
measured, the load generator has the other. Every card had an event in the last forty days, of 5,000 terminals each
three labels; entities are drawn evenly from all cards, other ones in each of 512 requests. CPU is that of the
transformer's process per request at 16 connections; p50 and p99 are at one. Memory is the process's own: pages of the
store are the kernel's to keep or drop.
"""
_POPULATIONS = {"tiny": (1_000,), "quick": (1_000, 10_000, 100_000), "full": (1_000, 10_000, 100_000, 1_000_000)}
_MANY = {"tiny": (1_000,), "quick": (1_000_000,), "full": (10_000_000,)}
_BATCH, _DIFFERENT = 16_384, 512


@benchmark("scale-serve", "Requests from stores of a thousand keys to a million")
def scale_serve(ground: Ground) -> Result:
    """Measure CPU, latency and memory of requests of 1 to 500 entities, by the number of keys."""
    return _of(ground, _POPULATIONS[ground.scale.name])


@benchmark("scale-serve-many", "Requests from a store of ten million keys", alone=True)
def scale_serve_many(ground: Ground) -> Result:
    """Measure the same of ten million keys, which take minutes to write."""
    return _of(ground, _MANY[ground.scale.name])


def _of(ground: Ground, populations: tuple[int, ...]) -> Result:
    result = Result(NOTES)
    for keys in populations:
        store = ground.home / f"scale-serve-{keys}"
        _fill(store, keys)
        with running("transformer", in_process(ground, store), ground.home / "logs", MEASURED) as server:
            with pinned(OTHERS):
                for rows in ground.scale.sizes:
                    bodies = [_request(ground, keys, rows, turn) for turn in range(_DIFFERENT)]
                    case = f"{keys:,} keys, {rows} {'entity' if rows == 1 else 'entities'}"
                    busy = measured(ground, {OURS: server}, bodies, 16)[PER_CPU_SECOND][OURS]
                    calm = measured(ground, {OURS: server}, bodies, 1)
                    cost = Samples([1e6 / value for value in busy.values])
                    result.figures.append(Figure(case, "CPU a request", "us", {OURS: cost}))
                    result.figures += [Figure(case, name, "ms", {OURS: calm[name][OURS]}) for name in (P50, P99)]
            result.figures.append(Figure(f"{keys:,} keys", "memory", "MB", {OURS: Samples([anonymous_mb(server)])}))
        shutil.rmtree(store)
    return result


def _fill(path: Path, keys: int) -> None:
    chance = np.random.default_rng(SEED)
    with closing(EmbeddedStore(path, durable=False)) as store:
        for begin in range(0, keys, _BATCH):
            held = np.arange(begin, min(begin + _BATCH, keys))
            add(store, held, END_MS - chance.integers(MINUTE, 40 * DAY, held.size), chance)
        store.declare([TERMINAL_RISK])
        terminals = np.repeat(np.arange(TERMINALS), 3)
        columns = {
            "terminal_id": terminals,
            "datetime": END_MS - chance.integers(8 * DAY, 30 * DAY, terminals.size),
            "fraud_label": (chance.random(terminals.size) < 0.01).astype(np.float64),
        }
        with store.transaction("labels", {}) as change:
            tiles.add(change, [TERMINAL_RISK], columns, terminals.size)
        store.flush()


def _request(ground: Ground, keys: int, rows: int, turn: int) -> bytes:
    columns = ground.asked(rows, turn)
    columns["cc_num"] = np.random.default_rng([SEED, keys, turn]).integers(0, keys, rows)
    inputs = {name: Tensor.of(name, values) for name, values in columns.items()}
    request = InferRequest(ground.app.name, inputs=inputs)
    return post(ground.app.name, *encode_request(request, binary=False), deadline_ms=PATIENT_MS)

"""Features of many keys, in process: the store read and everything computed on demand, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from benchmarks.ground import NOW_MS, Ground
from benchmarks.peers.plain_features import PlainStore, columns_of, vector
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, cpu_us, turns
from benchmarks.serving import plain_values
from headrace.features import Plan
from headrace.features.rows import conform
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Block, Lookup

ROW_BY_ROW, ONE_AT_A_TIME = "plain row by row", "headrace one key at a time"
AIMS_US = {50: 300.0, 500: 2000.0}
SIZES = (1, 50, 500)

Work = Callable[[], np.ndarray]


@benchmark("fetch", "Stored and on-demand features of many keys, in process")
def fetch(ground: Ground) -> Result:
    """Measure the CPU time from request columns to the model's matrix."""
    result = Result("CPU time of one call. Headrace merges tiles at read; the plain peer reads ready-made values.")
    store, plain = (
        EmbeddedStore(ground.store, readonly=True),
        PlainStore(plain_values(ground), columns_of(ground.app.view)),
    )
    with pinned(MEASURED):
        for rows in SIZES if ground.scale.name != "tiny" else ground.scale.sizes:
            sides = _sides(ground, store, plain, rows)
            matrices = [work() for work in sides.values()]
            if not all(np.allclose(matrices[0], other, rtol=1e-4, atol=1e-3) for other in matrices[1:]):
                raise ValueError("the sides compute different features: their costs do not compare")
            taken = {side: Samples() for side in sides}
            for side, work in turns(sides, ground.scale.rounds):
                taken[side].values.append(cpu_us(work, ground.scale.seconds / 3))
            result.figures.append(
                Figure(
                    f"{rows} {'key' if rows == 1 else 'keys'}",
                    "CPU",
                    "us",
                    taken,
                    "lower",
                    ROW_BY_ROW,
                    AIMS_US.get(rows),
                    "value",
                )
            )
    store.close()
    plain.close()
    return result


def matrix_of(ground: Ground, plan: Plan, store: EmbeddedStore, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the model's matrix of a request's columns, as the transformer makes it."""
    rows = conform(ground.app.view, columns, NOW_MS)
    groups = ground.app.groups
    blocks: list[Block] = at_once(store.read([Lookup(group, rows.columns[group.key]) for group in groups], rows.as_of))
    values = {group.name: block.values for group, block in zip(groups, blocks, strict=True)}
    return plan.assemble(rows.count, rows.columns, values)


def at_once(work):  # type: ignore[no-untyped-def]
    """Return what a coroutine gives that never waits, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise asyncio.InvalidStateError("the work waits for something, needs an event loop")


def _sides(ground: Ground, store: EmbeddedStore, plain: PlainStore, rows: int) -> dict[str, Work]:
    view, plan = ground.app.view, Plan.of(ground.app.view)
    columns = ground.asked(rows, 0)
    missing = view.missing.tolist()

    def row_by_row() -> np.ndarray:
        names, lists = list(columns), [values.tolist() for values in columns.values()]
        given = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        return np.array([vector(view.names, missing, plain, row) for row in given], dtype=np.float32)

    def one_at_a_time() -> np.ndarray:
        parts = [{name: values[at : at + 1] for name, values in columns.items()} for at in range(rows)]
        return np.concatenate([matrix_of(ground, plan, store, part) for part in parts])

    return {
        OURS: lambda: matrix_of(ground, plan, store, columns),
        ROW_BY_ROW: row_by_row,
        ONE_AT_A_TIME: one_at_a_time,
    }

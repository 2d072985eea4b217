"""Whole requests over REST: the lean server with Headrace's features, and the stock server with plain ones."""

from __future__ import annotations

from benchmarks.cells import P50, P99, PER_CPU_SECOND, PER_SECOND, Cell, measured
from benchmarks.ground import Ground
from benchmarks.processes import OTHERS, memory_mib, pinned
from benchmarks.registry import Figure, Result, benchmark
from benchmarks.rounds import Samples
from benchmarks.serving import LEAN, PLAIN, UNDER_STOCK, requests, transformers

CONNECTIONS = (1, 16)
#: Of the ratio in requests per second at 16 connections, by entities.
FASTER = {1: 6.0, 100: 15.0, 500: 15.0}
LATE_MS = {100: 2.0, 500: 5.0}  # p99 at one connection

NOTES = """
Transformers share one core and are asked one after another; the load generator and the one predictor share the other.
Throughput per core is requests per second of CPU time of the transformer's process, whoever else uses the machine.
The stock transformer reads ready-made values from local LMDB and calls the predictor over gRPC. It is spared what a
  remote feature store's client costs: it is faster here than it would be in production.
Headrace merges the tiles of eight windows at each request's own instant, and calls the predictor over HTTP.
The answers of all sides are compared before anything is measured.
"""


@benchmark("serve-json", "REST requests in JSON, through features and predictor")
def serve_json(ground: Ground) -> Result:
    """Measure JSON requests of 1 to 500 entities at 1 and 16 connections."""
    return _served(ground, binary=False, sides=(LEAN, PLAIN, UNDER_STOCK))


@benchmark("serve-binary", "REST requests with binary tensors, through features and predictor")
def serve_binary(ground: Ground) -> Result:
    """Measure requests whose tensors are binary; answers are binary where the server can."""
    return _served(ground, binary=True, sides=(LEAN, PLAIN))


def _served(ground: Ground, binary: bool, sides: tuple[str, ...]) -> Result:
    result = Result(NOTES)
    with transformers(ground, sides) as (started, _), pinned(OTHERS):
        for connections in CONNECTIONS:
            for rows in ground.scale.sizes:
                cell = measured(ground, started, requests(ground, rows, binary=binary), connections)
                result.figures += _figures(rows, connections, cell)
        held = {side: Samples([memory_mib(each)]) for side, each in started.items()}
    result.figures.append(Figure("all of the above", "most memory", "MiB", held, "lower", PLAIN))
    return result


def _figures(rows: int, connections: int, cell: Cell) -> list[Figure]:
    case = f"{rows} {'entity' if rows == 1 else 'entities'}, {connections} conn."
    if connections == 1:
        return [
            Figure(case, P50, "ms", cell[P50], "lower", PLAIN),
            Figure(case, P99, "ms", cell[P99], "lower", PLAIN, LATE_MS.get(rows), "value"),
        ]
    few = rows == 25
    aim = 3000.0 if few else FASTER.get(rows)
    per_core = Figure(
        case, PER_CPU_SECOND, "1/s", cell[PER_CPU_SECOND], "higher", PLAIN, aim, "value" if few else "ratio"
    )
    return [
        Figure(case, PER_SECOND, "1/s", cell[PER_SECOND], "higher", PLAIN),
        per_core,
        Figure(case, P50, "ms", cell[P50], "lower", PLAIN),
        Figure(case, P99, "ms", cell[P99], "lower", PLAIN, 10.0),
    ]

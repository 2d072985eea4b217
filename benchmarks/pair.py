"""Whole requests beside the stock pair: kserve's server, features by the Hopsworks SDK, a predictor over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from benchmarks.cells import P50, P99, PER_CPU_SECOND, PER_SECOND, Cell, Put, measured_by
from benchmarks.ground import Ground
from benchmarks.load import put_load
from benchmarks.load_grpc import put_grpc_load
from benchmarks.processes import OTHERS, cpu_s, memory_mib, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, turns
from benchmarks.serving import IN_PROCESS, grpc_requests, requests
from benchmarks.stock_pair import STOCK, Pair, stock_pair

Wire = Literal["json", "binary", "grpc"]
CONNECTIONS = (1, 16, 64)
#: Least ratios in requests per second per core at 16 connections: over the hop, and with the predictor in process.
FASTER = {1: 6.0, 100: 15.0, 500: 15.0}
FASTER_IN_PROCESS = {1: 10.0, 100: 15.0, 500: 15.0}
PER_CORE_AT_25 = 3000.0
LATE_MS = {100: 2.0, 500: 5.0}  # p99 at one connection
EARLIER, CALMER = 4.0, 10.0  # p50 of one entity at one connection, p99 at 16 connections
BOTH_CORES = "of transformer and predictor"
PUBLISHED = 104.0

NOTES = """
Stock: kserve.ModelServer, logs quiet, whose transformer reads 35 ready-made values of two groups by one call of the
  unmodified Hopsworks SDK from a stand-in of RonDB's REST server, with two python functions of three outputs, computes
  eight more features by NumPy for all rows at once, and calls the predictor over gRPC. Headrace reads tiles and
  merges them at each request's own instant.
Headrace: the embedded store, the predictor over HTTP. In process: the model is run by the transformer itself. From
  hopsworks: the tiles come from the same stand-in as the stock side's values.
Transformers share one core and are asked in turn; predictor, stand-in and load generator share the other, and are
  what limits the faster sides' requests as seen. Throughput per core is per second of the transformer's CPU time.
The answers of all sides are compared before anything is measured.
"""


@benchmark("pair-json", "REST requests in JSON beside the stock pair")
def pair_json(ground: Ground) -> Result:
    """Measure JSON requests of 1 to 500 entities at 1, 16 and 64 connections."""
    return _paired(ground, "json")


@benchmark("pair-binary", "REST requests with binary tensors beside the stock pair")
def pair_binary(ground: Ground) -> Result:
    """Measure binary requests of 1 to 500 entities at 1, 16 and 64 connections."""
    return _paired(ground, "binary")


@benchmark("pair-grpc", "gRPC requests beside the stock pair")
def pair_grpc(ground: Ground) -> Result:
    """Measure gRPC requests of 1 to 500 entities at 1, 16 and 64 connections."""
    return _paired(ground, "grpc")


@benchmark("pair-cards", "25 cards per request, as Hopsworks' own benchmark asks")
def pair_cards(ground: Ground) -> Result:
    """Measure requests per second of CPU of everything that serves: the transformer and the predictor."""
    result, rows = Result(NOTES_OF_CARDS), min(25, ground.scale.sizes[-1])
    pair = ground.kept(stock_pair)
    with pinned(OTHERS):
        for connections in _connections(ground)[1:]:
            put = _put(ground, "json", rows, connections)
            taken = {side: Samples() for side in pair.sides}
            for side in pair.sides:
                put(pair.sides[side], ground.scale.seconds / 5)
            for side, each in turns(pair.sides, ground.scale.rounds):
                before = cpu_s(each) + cpu_s(pair.predictor)
                found = put(each, ground.scale.seconds)
                used = max(cpu_s(each) + cpu_s(pair.predictor) - before, 0.01)
                taken[side].values.append(found.latencies_ms.size / used)
            case = f"{rows} cards, {connections} conn."
            result.figures.append(Figure(case, BOTH_CORES, "1/s", taken, "higher", STOCK))
            alone = f"{BOTH_CORES}, in process"
            result.figures.append(Figure(case, alone, "1/s", taken, "higher", STOCK, side=IN_PROCESS))
    return result


NOTES_OF_CARDS = f"""
25 cards (`cc_num`) a request, in JSON; requests per second of CPU time of all that serves them: transformer and
  predictor together, but neither feature store nor load generator. Hopsworks publishes about {PUBLISHED:.0f} requests/s
  per core of its predictors for its own such benchmark, which was not run here and has another model and machine.
"""


def _paired(ground: Ground, wire: Wire) -> Result:
    result, pair = Result(NOTES), ground.kept(stock_pair)
    with pinned(OTHERS):
        for connections in _connections(ground):
            for rows in ground.scale.sizes:
                cell = measured_by(ground, pair.sides, _put(ground, wire, rows, connections))
                result.figures += _figures(rows, connections, cell)
    result.figures.append(_memory(pair))
    return result


def _connections(ground: Ground) -> tuple[int, ...]:
    return CONNECTIONS if ground.scale.name != "tiny" else CONNECTIONS[:2]


def _put(ground: Ground, wire: Wire, rows: int, connections: int) -> Put:
    if wire == "grpc":
        calls = grpc_requests(ground, rows)
        return lambda side, seconds: put_grpc_load(side.grpc, calls, connections, seconds)
    bodies = requests(ground, rows, binary=wire == "binary")
    return lambda side, seconds: put_load(side.http, bodies, connections, seconds)


def _figures(rows: int, connections: int, cell: Cell) -> Iterator[Figure]:
    case = f"{rows} {'entity' if rows == 1 else 'entities'}, {connections} conn."
    for side, said in ((OURS, ""), (IN_PROCESS, ", in process")):
        if connections == 1:
            earlier = EARLIER if rows == 1 else None
            yield Figure(case, P50 + said, "ms", cell[P50], "lower", STOCK, earlier, side=side)
            yield Figure(case, P99 + said, "ms", cell[P99], "lower", STOCK, LATE_MS.get(rows), "value", side)
            continue
        measured = connections == 16
        yield Figure(case, PER_SECOND + said, "1/s", cell[PER_SECOND], "higher", STOCK, side=side)
        yield _per_core(case, said, rows if measured else 0, cell, side)
        yield Figure(case, P50 + said, "ms", cell[P50], "lower", STOCK, side=side)
        yield Figure(case, P99 + said, "ms", cell[P99], "lower", STOCK, CALMER if measured else None, side=side)


def _per_core(case: str, said: str, rows: int, cell: Cell, side: str) -> Figure:
    values, name = cell[PER_CPU_SECOND], PER_CPU_SECOND + said
    if rows == 25:
        return Figure(case, name, "1/s", values, "higher", STOCK, PER_CORE_AT_25, "value", side)
    aims = FASTER if side == OURS else FASTER_IN_PROCESS
    return Figure(case, name, "1/s", values, "higher", STOCK, aims.get(rows), side=side)


def _memory(pair: Pair) -> Figure:
    held = {side: Samples([memory_mib(each)]) for side, each in pair.sides.items()}
    return Figure("all of the above", "most memory", "MiB", held, "lower", STOCK)

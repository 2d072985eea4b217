"""One cell of a table of servers: every side asked in turns with the same requests, by the same generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.ground import Ground
from benchmarks.load import Load, put_load
from benchmarks.processes import cpu_s
from benchmarks.rounds import Samples, turns
from headrace.cli.stack import Server

Cell = dict[str, dict[str, Samples]]  # measure -> side -> samples
PER_SECOND, PER_CPU_SECOND, P50, P99 = "throughput", "throughput per core", "p50", "p99"


#: Puts load on a server for so many seconds.
Put = Callable[[Server, float], Load]


def measured(ground: Ground, sides: Mapping[str, Server], bodies: list[bytes], connections: int) -> Cell:
    """Ask every side over HTTP in turns, and return each measure's samples by side."""
    return measured_by(ground, sides, lambda side, seconds: put_load(side.http, bodies, connections, seconds))


def measured_by(ground: Ground, sides: Mapping[str, Server], put: Put) -> Cell:
    """Put load on every side in turns, and return each measure's samples by side."""
    cell: Cell = {m: {side: Samples() for side in sides} for m in (PER_SECOND, PER_CPU_SECOND, P50, P99)}
    for each in sides.values():
        put(each, ground.scale.seconds / 5)
    for side, each in turns(sides, ground.scale.rounds):
        before = cpu_s(each)
        found = put(each, ground.scale.seconds)
        used = max(cpu_s(each) - before, 0.01)
        cell[PER_SECOND][side].values.append(found.per_second)
        cell[PER_CPU_SECOND][side].values.append(found.latencies_ms.size / used)
        cell[P50][side].values.append(found.percentile_ms(50))
        cell[P99][side].values.append(found.percentile_ms(99))
    return cell

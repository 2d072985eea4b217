"""Half of what a transformer can do, for half an hour: whether its memory grows, and whether it gets slower."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from benchmarks.ground import Ground
from benchmarks.load import Load, put_load
from benchmarks.processes import OTHERS, anonymous_mb, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples
from benchmarks.serving import echo, requests, transformers
from benchmarks.steady import Steady
from headrace.cli.stack import Server

SLOPE_MB_PER_HOUR, DRIFT_PERCENT = 1.0, 10.0
CONNECTIONS, ROWS = 16, 25
_PIECES = 60  # of the time; the first sixth is warm-up
_WARM = _PIECES // 6
_ECHOED_S = 5.0
NOTES = """
Requests of 25 entities in JSON over 16 connections, at half the rate that the same connections reached in a closed loop
just before; each request is due at its own instant, and late from then on. The time is cut into 60 pieces, of which
the first ten are warm-up. The slope is that of a straight line through the anonymous memory of the transformer's
process at the end of each piece; the drift is the median p99 of the last third of pieces over that of the third
after the warm-up, less one. What is not above 0 is told as 0.001. After each piece a server that only echoes is
asked alike for a fifteenth as long, five seconds at most: its drift is that of the machine. By chance is what nine of
ten runs without any drift would stay below: the same pieces, five together, in random order. The trend is the median
slope of p99 between any two pieces after the warm-up (Theil and Sen), over as many.
"""
ECHO = "echo"
Send = Callable[[float, float], Load]


@benchmark("soak", "Half an hour at half of what it can do: memory and latency", alone=True)
def soak(ground: Ground) -> Result:
    """Measure the slope of memory and the drift of p99 of one transformer."""
    result = Result(NOTES)
    rows = min(ROWS, ground.scale.sizes[-1])
    with transformers(ground, (OURS,)) as (started, _), echo(ground) as echoing, pinned(OTHERS):
        server, bodies = started[OURS], requests(ground, rows)
        capacity = put_load(server.http, bodies, CONNECTIONS, 5 * ground.scale.seconds).per_second

        def echoed(rate: float, seconds: float) -> Load:
            with closing(Steady(echoing.http, bodies, CONNECTIONS)) as control:  # it hangs up on who waits 5 s
                return control.send(rate, seconds)

        with closing(Steady(server.http, bodies, CONNECTIONS)) as load:
            seconds = ground.scale.minutes * 60 / _PIECES
            result.figures += _pieces({OURS: load.send, ECHO: echoed}, server, capacity / 2, seconds, rows)
    return result


def _pieces(loads: dict[str, Send], server: Server, rate: float, seconds: float, rows: int) -> Iterator[Figure]:
    memory, p50, p99 = Samples(), {side: Samples() for side in loads}, {side: Samples() for side in loads}
    instants: list[float] = []
    for _ in range(_PIECES):
        for side, send in loads.items():
            found = send(rate, seconds if side == OURS else min(seconds / 15, _ECHOED_S))
            p50[side].values.append(found.percentile_ms(50))
            p99[side].values.append(found.percentile_ms(99))
            if side == OURS:
                memory.values.append(anonymous_mb(server))
                instants.append(time.monotonic())
    case = f"{rate:,.0f} requests/s of {rows}, {_PIECES * seconds / 60:.3g} min"
    slope = max(slope_per_hour(memory.values[_WARM:], instants[_WARM:]), 1e-3)
    yield Figure(case, "growth", "MB/h", {OURS: Samples([slope])}, aim=SLOPE_MB_PER_HOUR, aim_of="value")
    for measure, of in (
        ("p99 drift", drift_percent),
        ("p99 drift by chance", drift_by_chance),
        ("p99 trend", trend_percent),
    ):
        told = {side: Samples([max(of(taken.values[_WARM:]), 1e-3)]) for side, taken in p99.items()}
        aim = DRIFT_PERCENT if of is drift_percent else None
        yield Figure(case, measure, "%", told, aim=aim, aim_of="value")
    yield Figure(case, "p50", "ms", p50)
    yield Figure(case, "p99", "ms", p99)
    yield Figure(case, "memory", "MB", {OURS: memory})


def slope_per_hour(values: list[float], instants: list[float]) -> float:
    """Return by how much values taken at instants in seconds grow in an hour, by least squares."""
    return float(np.polyfit(np.subtract(instants, instants[0]), values, 1)[0] * 3600)


def drift_percent(values: list[float]) -> float:
    """Return by how many per cent the median of the last third lies above that of the first."""
    third = len(values) // 3
    return float(np.median(values[-third:]) / np.median(values[:third]) - 1) * 100


def drift_by_chance(values: list[float]) -> float:
    """Return the drift, up or down, that nine of ten random orders of the values stay below; five stay together."""
    rng, parts = np.random.default_rng(0), np.array_split(np.array(values), max(len(values) // 5, 1))
    orders = (np.concatenate([parts[at] for at in rng.permutation(len(parts))]) for _ in range(2_000))
    return float(np.percentile([abs(drift_percent(list(order))) for order in orders], 90))


def trend_percent(values: list[float]) -> float:
    """Return by how many per cent values rise from the first to the last: the median slope between any two of them.

    Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968; of logarithms, so that it is a ratio.
    """
    at, logs = np.arange(len(values)), np.log(values)
    first, second = np.triu_indices(len(values), 1)
    slope = np.median((logs[second] - logs[first]) / (at[second] - at[first]))
    return float(np.expm1(slope * (len(values) - 1)) * 100)

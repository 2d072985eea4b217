"""Ten times what a transformer can answer: how much of it is still answered in time, and what it is like afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.ground import Ground
from benchmarks.load import ask, put_load
from benchmarks.open_loop import Arrivals, Crowd
from benchmarks.processes import MEASURED, OTHERS, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, undisturbed
from benchmarks.serving import requests
from headrace.cli.stack import Server
from headrace.open_inference.admission import FEWEST

ROWS, DEADLINE_MS, TIMES, CONNECTIONS = 25, 50, 10, 64
_NORMAL = 0.7  # of the capacity, before and after
_ROOM = "headrace_requests_room "
_SLICE_S, _ENOUGH = 0.5, 0.95  # requests are normal again where nearly all are answered from then on

NOTES = f"""
Capacity is what {CONNECTIONS} connections are answered that ask again at once, measured five times before and after,
because the machine changes its speed meanwhile: the median counts, and each time waits until the transformer, which
lets in fewer after a press, lets in all of them. The overload is {TIMES} times the most that was found, sent when it
is due on up to 1024 connections, whatever becomes of it; each request has {DEADLINE_MS} ms. The transformer has one
core and the model in its process; whoever sends has the other core. Good are answers in time with 200.
"""


@benchmark("overload", "Ten times the load, and afterwards")
def overload(ground: Ground) -> Result:
    """Measure goodput, latency of what is let in, memory and recovery at ten times the capacity."""
    seconds = {"full": 30.0, "quick": 5.0}.get(ground.scale.name, 0.2)
    result = Result(NOTES)
    flags = ["--store", str(ground.store), "--predictor_in_process", str(ground.models), "--deadline_ms", "10000"]
    flags += ["--http_port", "0", "--grpc_port", "0"]
    with running("transformer", flags, ground.home / "logs", MEASURED) as server, pinned(OTHERS):
        patient = requests(ground, ROWS)

        def most() -> float:
            _wait_for_room(server.http, patient)
            return put_load(server.http, patient, CONNECTIONS, max(0.2, seconds / 10)).per_second

        found = [most(), most()]
        hurried = [
            request.replace(b"headrace-deadline-ms: 10000", b"headrace-deadline-ms: %d" % DEADLINE_MS)
            for request in patient
        ]
        crowd = Crowd(server.http)
        with undisturbed():
            normal = _NORMAL * min(found)
            before = crowd.ask(hurried, normal, seconds / 3)
            found.append(most())
            held = _memory_mib(server)
            during = crowd.ask(hurried, TIMES * max(found), seconds)
            grown = _memory_mib(server) - held
            after = crowd.ask(hurried, normal, seconds / 3 + min(5.0, seconds))
            found += [most(), most()]
            capacity = float(np.median(found))
        crowd.close()
    result.notes += _told(before, during, after)
    good = during.good_per_second(DEADLINE_MS / 1e3)
    result.figures = [
        _figure("capacity", "1/s", capacity, "higher"),
        _figure("good at ten times", "of capacity", max(good / capacity, 0.001), "higher", 0.8),
        _figure("p99 of good at ten times", "ms", during.percentile_ms(99), "lower", DEADLINE_MS),
        _figure("memory grown at ten times", "MiB", max(grown, 0.01), "lower", 32.0),
        _figure("until normal again", "s", max(_recovered_s(after), 0.01), "lower", 5.0),
        _figure("p99 before", "ms", before.percentile_ms(99), "lower"),
        _figure("p99 after", "ms", after.percentile_ms(99), "lower"),
    ]
    return result


def _wait_for_room(address: str, patient: list[bytes]) -> None:
    """Ask calmly until all connections are let in at once again: a transformer that was pressed lets in fewer."""
    while _room(address) < CONNECTIONS:
        put_load(address, patient, FEWEST, 0.05)


def _room(address: str) -> int:
    page = ask(address, b"GET /metrics HTTP/1.1\r\nhost: headrace\r\n\r\n").decode()
    return next(int(float(line.split()[-1])) for line in page.splitlines() if line.startswith(_ROOM))


def _figure(measure: str, unit: str, value: float, better: str, aim: float | None = None) -> Figure:
    case = f"{ROWS} entities, {DEADLINE_MS} ms"
    return Figure(case, measure, unit, {OURS: Samples([value])}, better, "", aim, "value")  # type: ignore[arg-type]


def _recovered_s(after: Arrivals) -> float:
    """Return from when on at least 95 % of all that was due was answered."""
    slices = max(1, int(after.seconds / _SLICE_S))
    counts, _ = np.histogram(after.good_at, bins=slices, range=(0.0, slices * _SLICE_S))
    left = np.cumsum(counts[::-1])[::-1] / (after.rate * _SLICE_S * np.arange(slices, 0, -1))
    normal = np.flatnonzero(left >= _ENOUGH)
    return float(normal[0]) * _SLICE_S if normal.size else after.seconds


def _told(*phases: Arrivals) -> str:
    lines = []
    for name, phase in zip(("before", "at ten times", "after"), phases, strict=True):
        sent = sum(phase.said.values()) / phase.seconds
        said = ", ".join(f"{status}: {count / phase.seconds:.0f}/s" for status, count in sorted(phase.said.items()))
        lines.append(
            f"{name}: due {phase.rate:.0f}/s, answered {sent:.0f}/s ({said}), "
            f"unsent {phase.unsent / phase.seconds:.0f}/s"
        )
    return "\n".join(lines) + "\n"


def _memory_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024

"""Servers as processes of their own, each on the core it is given, and the CPU time they use."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headrace.cli.broker import free_port as free_port
from headrace.cli.stack import Server, server, wait_ready

#: The servers that are measured share the first core one after another; everything else runs on the last.
CORES = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = {CORES[0]}, {CORES[-1]}


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Keep this thread, and the processes it starts, on these cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(module: str, flags: list[str], logs: Path, cores: set[int]) -> Iterator[Server]:
    """Run `python -m module` on these cores until the block ends; give it once it is ready."""
    logs.mkdir(parents=True, exist_ok=True)
    before = os.sched_getaffinity(0)
    with pinned(cores), server(module, flags, logs) as started:
        os.sched_setaffinity(0, before)
        wait_ready(started)
        yield started


def cpu_s(of: Server) -> float:
    """Return the CPU seconds that a server and the processes it started have used since they started."""
    return sum(_ticks(number) for number in tree(of.process.pid)) / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Return the ids of a process and of all that it started, directly or not, and that still run."""
    of_parent: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _stat(int(folder.name))):
            of_parent.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for number in found:
        found += of_parent.get(number, [])
    return found


def _ticks(number: int) -> int:
    fields = _stat(number)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _stat(number: int) -> list[str]:
    """Return what the system says of a process from its state on; nothing where it has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def memory_mib(of: Server) -> float:
    """Return the most memory a server has held, in MiB."""
    status = Path(f"/proc/{of.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def anonymous_mb(of: Server) -> float:
    """Return the memory that is a process's own, in MB: the pages of its store are the kernel's."""
    status = Path(f"/proc/{of.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024 / 1e6


def watched(
    stands: Callable[[], int], writer: subprocess.Popen[bytes], start: float, count: int, rest_s: float = 0.0
) -> np.ndarray:
    """Return when each of `count` events that a process writes was first seen, float64 seconds of CLOCK_MONOTONIC.

    `stands` returns how many are there; it is asked again after `rest_s`, from shortly before `start` on.
    """
    seen, at = np.empty(count), 0
    time.sleep(max(0.0, start - time.monotonic() - 0.05))
    while at < count:
        there = stands()
        seen[at:there] = time.monotonic()
        at = max(at, there)
        if writer.poll() not in (None, 0):
            raise RuntimeError(f"the writer ended with code {writer.returncode} after {at} of {count} events")
        if rest_s:
            time.sleep(rest_s)
    return seen

"""The fraud path on Triton: the ground of the end-to-end tests, with Triton as its predictor."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applications.fraud.app import APP
from headrace.cache_folder import cache_folder
from headrace.cli.stack import Server, server
from tests.end_to_end.ground import Ground

MODULE = "predictor.local_triton"
ROOT = Path(__file__).parents[3]


@dataclass(slots=True)
class Up:
    """The command `headrace up --predictor triton`: what it said, where it serves, what it started, how it ended."""

    said: str
    transformer: str
    predictor: str
    grpc: str
    processes: set[int]
    code: int = -1
    rest: str = ""


@contextmanager
def up(ground: Ground, folder: Path) -> Iterator[Up]:
    """Run the command in a folder until the block ends, then end it as Ctrl-C does."""
    command = [sys.executable, "-m", "headrace.cli", "up", APP.name, "--predictor", "triton"]
    flags = ["--store", str(ground.store), "--models", str(ground.models), "--http-port", "0", "--grpc-port", "0"]
    clean = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "HEADRACE_CACHE": str(cache_folder(os.environ))}
    with subprocess.Popen(
        [*command, *flags], cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops all" not in said:
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        (transformer,) = re.findall(r"transformer\s+http (\S+)", said)
        ((predictor, grpc),) = re.findall(r"predictor\s+http (\S+)\s+grpc (\S+)", said)
        running = Up(said, transformer, predictor, grpc, below(process.pid))
        try:
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            running.rest = process.stdout.read()
            running.code = process.wait(60)


@contextmanager
def triton(models: Path, logs: Path, http_port: str = "0") -> Iterator[Server]:
    """Run Triton with the fraud model of a repository until the block ends; give it once it answers."""
    logs.mkdir(parents=True, exist_ok=True)
    flags = ["--repository", str(models), "--model", APP.name, "--http-port", http_port, "--grpc-port", "0"]
    with server(MODULE, [*flags, "--cache", str(cache_folder(os.environ))], logs, "predictor") as running:
        yield running


def told(address: str, path: str) -> Any:
    """Return what a server says at a path, as data."""
    asking = http.client.HTTPConnection(address, timeout=30)
    try:
        asking.request("GET", path)
        return json.loads(asking.getresponse().read())
    finally:
        asking.close()


def counted(address: str) -> dict[str, int]:
    """Return Triton's counts of the fraud model, all versions together: rows, runs, and the rows of the largest run."""
    versions = told(address, f"/v2/models/{APP.name}/stats")["model_stats"]
    return {
        "rows": sum(one["inference_count"] for one in versions),
        "runs": sum(one["execution_count"] for one in versions),
        "largest": max(run["batch_size"] for one in versions for run in one["batch_stats"]),
    }


def below(pid: int) -> set[int]:
    """Return the processes that descend from one, those that have ended and are not waited for left out."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended meanwhile
        if state != "Z":
            parents[int(entry.parent.name)] = int(parent)
    found: set[int] = set()
    while grown := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= grown
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those of some processes that have not ended."""
    return {pid for pid in pids if _state(pid) not in ("", "Z", "X")}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""

"""The fraud path on Triton: the ground of the end-to-end tests, with Triton as its predictor."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from applications.fraud.app import APP
from headrace.cli.stack import Server, server, wait_ready
from predictor.local_triton.cache import cache_folder
from tests.end_to_end.ground import Ground, transformer_flags

MODULE = "predictor.local_triton"


@contextmanager
def triton(models: Path, logs: Path, http_port: str = "0") -> Iterator[Server]:
    """Run Triton with the fraud model of a repository until the block ends; give it once it answers."""
    logs.mkdir(parents=True, exist_ok=True)
    flags = ["--repository", str(models), "--model", APP.name, "--http-port", http_port, "--grpc-port", "0"]
    with server(MODULE, [*flags, "--cache", str(cache_folder(os.environ))], logs, "predictor") as running:
        yield running


@contextmanager
def serving(ground: Ground, logs: Path, models: Path | None = None) -> Iterator[tuple[Server, Server]]:
    """Run Triton, and a transformer in front of it; give both once the transformer is ready."""
    with (
        triton(models or ground.models, logs) as predictor,
        server("transformer", transformer_flags(ground.store, predictor.http), logs) as transformer,
    ):
        wait_ready(transformer)
        yield predictor, transformer


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

"""Features of many keys over HTTP: a transformer asked for its matrix, and Feast's feature server."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.cells import P50, P99, PER_CPU_SECOND, PER_SECOND, Put, measured_by
from benchmarks.environments import MAKE, python_of, version_of
from benchmarks.foreign import SCRIPTS, foreign
from benchmarks.ground import NOW_MS, PATIENT_MS, Ground
from benchmarks.load import ask, put_load
from benchmarks.processes import MEASURED, OTHERS, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.serving import in_process, post, tensors
from headrace.cli.stack import Server
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, RequestedOutput
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup

SQLITE, REDIS = "feast on sqlite", "feast on redis"
CONNECTIONS = (1, 16)
NOTES = """
Feast's feature server reads 35 ready-made values of two views from SQLite, or from a Redis on the other core, and
answers in JSON. Headrace does more: it merges tiles at the request's instant, computes eleven features on demand, runs
the model in its own process, and answers with the matrix of 44 features in JSON. Both have one worker on one core; CPU
is that of all of a server's processes, and not that of Redis.
"""
_DIFFERENT = 16
_REDIS = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


@benchmark("feature-servers", "Features over HTTP beside Feast's feature server")
def feature_servers(ground: Ground) -> Result:
    """Measure requests for the features of 1 to 500 entities at 1 and 16 connections."""
    result = Result(NOTES)
    with _started(ground, result) as sides, pinned(OTHERS):
        peers = [side for side in sides if side != OURS]
        _check(ground, sides)
        for connections in CONNECTIONS:
            for rows in ground.scale.sizes:
                cell = measured_by(ground, sides, _put(ground, sides, rows, connections))
                case = f"{rows} {'entity' if rows == 1 else 'entities'}, {connections} conn."
                for measure in (PER_CPU_SECOND, PER_SECOND):
                    for peer in (peers or [""]) if connections > 1 else []:
                        said = f"{measure}, beside {peer}" if peer else measure
                        result.figures.append(Figure(case, said, "1/s", cell[measure], "higher", peer))
                result.figures += [Figure(case, measure, "ms", cell[measure]) for measure in (P50, P99)]
    return result


@contextmanager
def _started(ground: Ground, result: Result) -> Iterator[dict[str, Server]]:
    python = python_of("feast") if ground.scale.name != "tiny" else None
    with ExitStack() as stack:
        logs = ground.home / "logs"
        sides = {OURS: stack.enter_context(running("transformer", in_process(ground), logs, MEASURED))}
        if python is None:
            result.notes += f"Feast was not measured: its environment is not there (`{MAKE} feast`).\n"
        else:
            result.notes += f"Measured: {version_of('feast')}.\n"
            stores = {SQLITE: "sqlite"}
            if shutil.which("redis-server"):
                stores[REDIS] = stack.enter_context(foreign("redis", _REDIS, b"", logs, OTHERS)).http
            else:
                result.notes += "Feast on Redis was not measured: there is no redis-server.\n"
            probe, values = _request(ground, SQLITE, 1, 0), _values(ground)
            for side, store in stores.items():
                home = ground.home / side.replace(" ", "-")
                command = [str(python), str(SCRIPTS / "feast_side.py"), str(home), str(values), store, "{port}"]
                sides[side] = stack.enter_context(foreign(side.replace(" ", "-"), command, probe, logs, MEASURED))
        yield sides


def _values(ground: Ground) -> Path:
    """Write the values that every entity has at NOW_MS, as Feast's side reads them."""
    store, path, held = EmbeddedStore(ground.store, readonly=True), ground.home / "feast.npz", dict[str, Any]()
    for group in ground.app.groups:
        keys = np.unique(ground.events[group.key])
        block = asyncio.run(store.read([Lookup(group, keys)], np.full(keys.size, NOW_MS)))[0]
        parts = {"key": group.key, "keys": keys, "names": np.array(group.column_names), "values": block.values}
        held |= {f"{group.name}.{name}": value for name, value in parts.items()}
    store.close()
    np.savez(path, **held)
    return path


def _put(ground: Ground, sides: dict[str, Server], rows: int, connections: int) -> Put:
    asked = {
        each.http: [_request(ground, side, rows, turn) for turn in range(_DIFFERENT)] for side, each in sides.items()
    }
    return lambda server, seconds: put_load(server.http, asked[server.http], connections, seconds)


def _request(ground: Ground, side: str, rows: int, turn: int) -> bytes:
    if side == OURS:
        wanted = (RequestedOutput("features"),)
        request = InferRequest(ground.app.name, inputs=tensors(ground, rows, turn), outputs=wanted)
        return post(ground.app.name, *encode_request(request, binary=False), deadline_ms=PATIENT_MS)
    asked = ground.asked(rows, turn)
    entities = {group.key: asked[group.key].tolist() for group in ground.app.groups}
    body = orjson.dumps({"feature_service": "fraud", "entities": entities})
    head = f"POST /get-online-features HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def _check(ground: Ground, sides: dict[str, Server]) -> None:
    """Raise ValueError unless Feast gives the values that are in our matrix: only then do costs compare."""
    ours = orjson.loads(ask(sides[OURS].http, _request(ground, OURS, 3, 0)))["outputs"][0]["data"]
    matrix, name = np.reshape(ours, (3, -1)), "amount_mean_7d"
    at = ground.app.view.names.index(name)
    for side in (side for side in sides if side != OURS):
        answer = orjson.loads(ask(sides[side].http, _request(ground, side, 3, 0)))
        values = answer["results"][answer["metadata"]["feature_names"].index(name)]["values"]
        found = [ground.app.view.missing[at] if v is None or math.isnan(v) else v for v in values]
        if not np.allclose(found, matrix[:, at], rtol=1e-4):
            raise ValueError(f"{side} gives {name} otherwise than {OURS}: their costs do not compare")

"""The same exported model behind other model servers, asked for the same rows in JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.cells import P50, P99, PER_CPU_SECOND, PER_SECOND, Cell, measured_by
from benchmarks.environments import MAKE, python_of, version_of
from benchmarks.foreign import SCRIPTS, foreign
from benchmarks.ground import PATIENT_MS, SEED, Ground
from benchmarks.load import ask, put_load
from benchmarks.processes import MEASURED, OTHERS, memory_mib, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples
from benchmarks.serving import APART, post
from headrace.cli.stack import Server
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor

BINARY = "headrace, binary"
CONNECTIONS = (1, 16)
NOTES = """
One exported network by ONNX Runtime on one thread behind every server, one worker each, on one core with all its
processes, logs quiet; the load generator is on the other. JSON everywhere; "headrace, binary" is the same predictor
asked in binary. Throughput per core counts the CPU time of all of a server's processes. Scores are compared first.
"""
_DIFFERENT = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """How a server is run with a model at a port, asked, and read."""

    command: Callable[[Path, Path, Path], list[str]]  # python, model, folder of its own
    path: str
    scores: Callable[[Any], Any] = lambda answer: answer["scores"]
    v2: bool = False


def _script(name: str) -> Callable[[Path, Path, Path], list[str]]:
    return lambda python, model, home: [str(python), str(SCRIPTS / name), str(model), "{port}"]


def _bentoml(python: Path, model: Path, home: Path) -> list[str]:
    told = ["serve", "bentoml_side:Scores", "--host", "127.0.0.1", "--port", "{port}", "--working-dir", str(SCRIPTS)]
    return ["env", f"HEADRACE_PEER_MODEL={model}", str(python), "-m", "bentoml", *told]


def _mlserver(python: Path, model: Path, home: Path) -> list[str]:
    home.mkdir(parents=True, exist_ok=True)
    served = {"name": "peer", "implementation": "mlserver_side.Runtime", "parameters": {"uri": str(model)}}
    (home / "model-settings.json").write_bytes(orjson.dumps(served))
    server = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "metrics_port": 0}
    (home / "settings.json").write_bytes(orjson.dumps(server))
    named = ["env", "MLSERVER_HTTP_PORT={port}", "MLSERVER_GRPC_PORT=0"]
    return [*named, str(python), "-c", "import mlserver.cli; mlserver.cli.main()", "start", str(home)]


PEERS = {
    "litserve": Peer(_script("litserve_side.py"), "/predict"),
    "bentoml": Peer(_bentoml, "/predict", lambda answer: answer),
    "mlserver": Peer(_mlserver, "/v2/models/peer/infer", lambda answer: answer["outputs"][0]["data"], v2=True),
    "ray": Peer(_script("ray_side.py"), "/predict"),
}


@benchmark("model-servers", "One model behind LitServe, BentoML, MLServer and Ray Serve")
def model_servers(ground: Ground) -> Result:
    """Measure JSON requests of ready-made matrices of 1 to 500 rows at 1 and 16 connections."""
    result = Result(NOTES)
    with _started(ground, result) as sides, pinned(OTHERS):
        _check(ground, sides)
        for connections in CONNECTIONS:
            for rows in ground.scale.sizes:
                asked = {side: _requests(ground, side, rows) for side in sides}
                by_server = {id(each): side for side, each in sides.items()}

                def put(server: Server, seconds: float, asked=asked, by=by_server, connections=connections):  # type: ignore[no-untyped-def]
                    return put_load(server.http, asked[by[id(server)]], connections, seconds)

                result.figures += _figures(rows, connections, measured_by(ground, sides, put))
        held = {side: Samples([memory_mib(each)]) for side, each in sides.items()}
    result.figures.append(Figure("all of the above", "most memory of the first process", "MiB", held))
    return result


@contextmanager
def _started(ground: Ground, result: Result) -> Iterator[dict[str, Server]]:
    name, logs = ground.app.name, ground.home / "logs"
    flags = ["--repository", str(ground.models), "--model", name, "--http-port", "0", "--grpc-port", "0"]
    with ExitStack() as stack:
        sides = {OURS: stack.enter_context(running("predictor", flags, logs, MEASURED))}
        ours = sides[OURS]
        sides[BINARY] = Server(BINARY, ours.process, ours.log, ours.http, ours.grpc)
        for peer, how in PEERS.items():
            python = python_of(peer) if ground.scale.name != "tiny" else None
            if python is None:
                result.notes += f"{peer} was not measured: its environment is not there (`{MAKE} {peer}`).\n"
                continue
            command = how.command(python, next(ground.models.glob(f"{name}/*/model.onnx")), ground.home / peer)
            probe = _requests(ground, peer, 1)[0]
            sides[peer] = stack.enter_context(foreign(peer, command, probe, logs, MEASURED))
            result.notes += f"Measured: {version_of(peer)}.\n"
        yield sides


def _figures(rows: int, connections: int, cell: Cell) -> Iterator[Figure]:
    case = f"{rows} {'row' if rows == 1 else 'rows'}, {connections} conn."
    for peer in (peer for peer in PEERS if peer in cell[P50]):
        beside = f", beside {peer}"
        if connections > 1:
            yield Figure(case, PER_CPU_SECOND + beside, "1/s", cell[PER_CPU_SECOND], "higher", peer)
    if connections > 1:
        yield Figure(case, PER_SECOND, "1/s", cell[PER_SECOND], "higher")
    yield Figure(case, P50, "ms", cell[P50])
    yield Figure(case, P99, "ms", cell[P99])


def _requests(ground: Ground, side: str, rows: int) -> list[bytes]:
    return [_request(ground, side, _matrix(ground, rows, turn)) for turn in range(_DIFFERENT)]


def _matrix(ground: Ground, rows: int, turn: int) -> np.ndarray:
    return np.random.default_rng([SEED, turn]).random((rows, len(ground.app.view.names)), dtype=np.float32)


def _request(ground: Ground, side: str, matrix: np.ndarray) -> bytes:
    peer = PEERS.get(side)
    if peer is None or peer.v2:
        tensors = {"features": Tensor("features", "FP32", matrix)}
        body, length = encode_request(InferRequest("peer", inputs=tensors), binary=side == BINARY)
        if peer is None:
            return post(ground.app.name, body, length, deadline_ms=PATIENT_MS)
    else:
        body = orjson.dumps({"features": matrix}, option=orjson.OPT_SERIALIZE_NUMPY)
    head = f"POST {peer.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def _check(ground: Ground, sides: dict[str, Server]) -> None:
    """Raise ValueError unless every server gives the model's scores: only then do their costs compare."""
    matrix, given = _matrix(ground, 3, 0), {}
    for side, each in sides.items():
        if side == BINARY:
            continue
        answer = orjson.loads(ask(each.http, _request(ground, side, matrix)))
        found = PEERS[side].scores(answer) if side in PEERS else answer["outputs"][0]["data"]
        given[side] = np.ravel(found)
    for side, found in given.items():
        apart = float(np.abs(found - given[OURS]).max())
        if found.shape != (3,) or not apart <= APART:
            raise ValueError(f"{side} answers otherwise than {OURS}, by {apart:.2g}: their costs do not compare")

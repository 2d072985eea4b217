"""What a request cannot be faster than: a bare server, bare reads of the store and a direct call of the predictor."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import lmdb
import numpy as np

from benchmarks.ground import PATIENT_MS, Ground
from benchmarks.load import put_load
from benchmarks.peers.bare import gets_of, records_at
from benchmarks.processes import MEASURED, OTHERS, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, cpu_us
from benchmarks.serving import IN_PROCESS, echo, post, requests, transformers
from headrace.cli.stack import Server
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.runtime import Runtime

FLOOR, BARE, PREDICTOR = "floor", "bare server", "predictor"
_MEANING = """
A ratio of 1.0x would mean that features cost nothing; the aim, 1.5 times the floor, is a ratio of 0.67x. The bare
server does the three in one request, over HTTP, and nothing else: it answers later than their sum, because each is
measured by itself over and over, with its code and data in the caches, and there the others come between.
"""
NOTES = (
    """
p50 at one connection. The floor is the sum of an ASGI server that echoes (uvicorn on uvloop), the LMDB gets of the
request's records without decoding them, and the predictor asked directly with the matrix ready, in binary, from the
core of the transformer.
"""
    + _MEANING
)
NOTES_IN_PROCESS = (
    """
p50 at one connection. The floor is the sum of an ASGI server that echoes (uvicorn on uvloop), the LMDB gets of the
request's records without decoding them, and a run of the model's session on the matrix, in the same process.
"""
    + _MEANING
)


@benchmark("floor", "Latency over the floor: a bare server, bare reads, a direct call of the predictor")
def floor(ground: Ground) -> Result:
    """Measure the median latency of whole requests and of each part of the floor."""
    result = Result(NOTES)
    with transformers(ground, (OURS,)) as (started, predictor), echo(ground) as echoing, _records(ground) as env:
        for rows in ground.scale.sizes:
            asking = {"predictor": predictor.http, "request": _file(ground, "request", _matrix_request(ground, rows))}
            with _bare(ground, rows, asking) as bare:
                asked = {
                    OURS: (started[OURS].http, requests(ground, rows)),
                    BARE: (bare.http, requests(ground, rows)),
                    "echo": (echoing.http, requests(ground, rows)),
                    PREDICTOR: (predictor.http, [_matrix_request(ground, rows)]),
                }
                result.figures.append(_over(ground, rows, asked, {"store get": gets_of(env, _keys(ground, rows))}))
    return result


@benchmark("floor-in-process", "The same with the predictor in the transformer's process")
def floor_in_process(ground: Ground) -> Result:
    """Measure the median latency of whole requests without a hop, and of each part of the floor."""
    result, model = Result(NOTES_IN_PROCESS), Runtime.open(_model_file(ground))
    with transformers(ground, (IN_PROCESS,)) as (started, _), echo(ground) as echoing, _records(ground) as env:
        for rows in ground.scale.sizes:
            np.save(matrix := ground.home / "matrix.npy", _matrix(ground, rows), allow_pickle=False)
            here: dict[str, Callable[[], object]] = {"store get": gets_of(env, _keys(ground, rows))}
            here["session run"] = partial(model.run, _matrix(ground, rows))
            with _bare(ground, rows, {"model": str(_model_file(ground)), "matrix": str(matrix)}) as bare:
                asked = {
                    OURS: (started[IN_PROCESS].http, requests(ground, rows)),
                    BARE: (bare.http, requests(ground, rows)),
                    "echo": (echoing.http, requests(ground, rows)),
                }
                result.figures.append(_over(ground, rows, asked, here))
    return result


def _over(
    ground: Ground, rows: int, asked: dict[str, tuple[str, list[bytes]]], here: dict[str, Callable[[], object]]
) -> Figure:
    """Measure what is asked over HTTP and what is done in this process, and set them beside each other."""
    parts = [side for side in (*asked, *here) if side not in (OURS, BARE)]
    taken = {side: Samples() for side in (OURS, FLOOR, BARE, *parts)}
    for _ in range(ground.scale.rounds):
        for side, (address, bodies) in asked.items():
            with pinned(MEASURED if side == PREDICTOR else OTHERS):  # each from where it is asked in a request
                put_load(address, bodies, 1, ground.scale.seconds / 10)
                found = put_load(address, bodies, 1, ground.scale.seconds / 3)
                taken[side].values.append(found.percentile_ms(50))
        with pinned(MEASURED):
            for side, work in here.items():
                taken[side].values.append(cpu_us(work, ground.scale.seconds / 10) / 1e3)
        taken[FLOOR].values.append(sum(taken[part].values[-1] for part in parts))
    case = f"{rows} {'entity' if rows == 1 else 'entities'}"
    return Figure(case, "p50", "ms", taken, "lower", FLOOR, 0.67)


def _bare(ground: Ground, rows: int, predictor: dict[str, str]) -> AbstractContextManager[Server]:
    told = {"store": str(ground.store), "keys": _keys(ground, rows), **predictor}
    flags = [_file(ground, "bare.json", json.dumps(told).encode())]
    return running("benchmarks.peers.bare", flags, ground.home / "logs", MEASURED)


def _file(ground: Ground, name: str, content: bytes) -> str:
    path = ground.home / name
    path.write_bytes(content)
    return str(path)


def _model_file(ground: Ground) -> Path:
    return next(ground.models.glob(f"{ground.app.name}/*/model.onnx"))


def _matrix(ground: Ground, rows: int) -> np.ndarray:
    return np.random.default_rng(rows).random((rows, len(ground.app.view.names)), dtype=np.float32)


def _matrix_request(ground: Ground, rows: int) -> bytes:
    request = InferRequest(ground.app.name, inputs={"features": Tensor("features", "FP32", _matrix(ground, rows))})
    return post(ground.app.name, *encode_request(request, binary=True), deadline_ms=PATIENT_MS)


def _records(ground: Ground) -> AbstractContextManager[lmdb.Environment]:
    return closing(records_at(str(ground.store)))


def _keys(ground: Ground, rows: int) -> dict[str, list[int]]:
    asked = ground.asked(rows, 0)
    return {group.name: asked[group.key].tolist() for group in ground.app.groups}

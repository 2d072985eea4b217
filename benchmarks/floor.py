"""What a request cannot be faster than: a bare server, bare reads of the store and a direct call of the predictor."""

from __future__ import annotations

from collections.abc import Callable

import lmdb
import numpy as np

from benchmarks.ground import PATIENT_MS, Ground
from benchmarks.load import put_load
from benchmarks.processes import MEASURED, OTHERS, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, cpu_us
from benchmarks.serving import post, requests, transformers
from headrace.open_inference.codec import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.stores.online import encode_keys

FLOOR, PARTS = "floor", ("echo", "store get", "predictor")
NOTES = """
p50 at one connection. The floor is the sum of an ASGI server that echoes (uvicorn on uvloop), the LMDB gets of the
request's records without decoding them, and the predictor asked directly with the matrix ready, in binary.
A ratio of 1.0x would mean that features cost nothing; the aim, 1.5 times the floor, is a ratio of 0.67x.
"""


@benchmark("floor", "Latency over the floor: a bare server, bare reads, a direct call of the predictor")
def floor(ground: Ground) -> Result:
    """Measure the median latency of whole requests and of each part of the floor."""
    result = Result(NOTES)
    echoing = running("benchmarks.peers.echo", [], ground.home / "logs", MEASURED)
    with transformers(ground, (OURS,)) as (started, predictor), echoing as echo:
        for rows in ground.scale.sizes:
            asked = {
                OURS: (started[OURS].http, requests(ground, rows)),
                "echo": (echo.http, requests(ground, rows)),
                "predictor": (predictor.http, [_matrix_request(ground, rows)]),
            }
            taken = {side: Samples() for side in (OURS, FLOOR, *PARTS)}
            for _ in range(ground.scale.rounds):
                with pinned(OTHERS):
                    for side, (address, bodies) in asked.items():
                        put_load(address, bodies, 1, ground.scale.seconds / 10)
                        found = put_load(address, bodies, 1, ground.scale.seconds / 3)
                        taken[side].values.append(found.percentile_ms(50))
                with pinned(MEASURED):
                    taken["store get"].values.append(cpu_us(_gets(ground, rows), ground.scale.seconds / 10) / 1e3)
                taken[FLOOR].values.append(sum(taken[part].values[-1] for part in PARTS))
            case = f"{rows} {'entity' if rows == 1 else 'entities'}"
            result.figures.append(Figure(case, "p50", "ms", taken, "lower", FLOOR, 0.67))
    return result


def _matrix_request(ground: Ground, rows: int) -> bytes:
    matrix = np.random.default_rng(rows).random((rows, len(ground.app.view.names)), dtype=np.float32)
    request = InferRequest(ground.app.name, inputs={"features": Tensor("features", "FP32", matrix)})
    return post(ground.app.name, *encode_request(request, binary=True), deadline_ms=PATIENT_MS)


def _gets(ground: Ground, rows: int) -> Callable[[], object]:
    env = lmdb.open(str(ground.store), readonly=True, max_dbs=16, lock=False)
    asked = ground.asked(rows, 0)
    wanted = [
        (env.open_db(f"group:{group.name}".encode(), create=False), encode_keys(asked[group.key]))
        for group in ground.app.groups
    ]

    def gets() -> list[bytes | None]:
        with env.begin() as txn:
            return [txn.get(key, db=db) for db, keys in wanted for key in keys]

    return gets

"""What joining the rows of concurrent requests into one run is worth: the embedded predictor with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cells import P50, P99, PER_CPU_SECOND, PER_SECOND, measured
from benchmarks.ground import PATIENT_MS, SEED, Ground
from benchmarks.load import ask
from benchmarks.processes import MEASURED, OTHERS, pinned, running
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.serving import post
from headrace.cli.stack import Server
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor
from predictor.repository import write_model

ALONE = "one by one"
CONNECTIONS = (1, 16, 64)
APART = 1e-6
_DIFFERENT, _HIDDEN = 32, 1024
NOTES = """
Both sides are `python -m predictor` on one core, asked in turns with binary matrices; `one by one` is --batch-rows 1.
The load generator has the other core. `fraud` is the demo's network (36,000 weights, some 25 microseconds for a row);
`wide` has two layers of 1,024 (1.1 million weights, which a run reads from memory whether for one row or for many).
Throughput per core is requests per second of CPU time of the predictor's process, whoever else uses the machine.
Answers of both sides agree within 1e-6, which is compared before anything is measured.
"""


@benchmark("predictor-batching", "Concurrent requests to the embedded predictor, joined into runs or one by one")
def predictor_batching(ground: Ground) -> Result:
    """Measure requests of one row and of 25 at 1, 16 and 64 connections."""
    result = Result(NOTES)
    for model, models, sizes in (("fraud", ground.models, (1, 25)), ("wide", _wide(ground), (1,))):
        with ExitStack() as stack:
            flags = ["--repository", str(models), "--model", ground.app.name, "--http-port", "0", "--grpc-port", "0"]
            sides = {
                side: stack.enter_context(running("predictor", [*flags, *more], ground.home / "logs" / side, MEASURED))
                for side, more in ((OURS, []), (ALONE, ["--batch-rows", "1"]))
            }
            with pinned(OTHERS):
                for rows in sizes:
                    result.figures += _figures(ground, sides, model, rows)
    return result


def _figures(ground: Ground, sides: dict[str, Server], model: str, rows: int) -> Iterator[Figure]:
    bodies = [_request(ground, rows, turn) for turn in range(_DIFFERENT)]
    _check(sides, bodies[0], rows)
    for connections in CONNECTIONS:
        cell = measured(ground, sides, bodies, connections)
        case = f"{model}, {rows} {'row' if rows == 1 else 'rows'}, {connections} conn."
        for measure in (PER_SECOND, PER_CPU_SECOND):
            yield Figure(case, measure, "1/s", cell[measure], "higher", ALONE)
        for measure in (P50, P99):
            yield Figure(case, measure, "ms", cell[measure], "lower", ALONE)


def _wide(ground: Ground) -> Path:
    view, models, output = ground.app.view, ground.home / "wide", ground.app.outputs[0].name
    random = np.random.default_rng(SEED)
    nodes, held, value = [], [], "features"
    for at, (before, after) in enumerate(pairwise((len(view.names), _HIDDEN, _HIDDEN, 1))):
        weight = random.normal(0, before**-0.5, (before, after)).astype(np.float32)
        held.append(numpy_helper.from_array(weight, f"w{at}"))
        nodes.append(helper.make_node("Gemm", [value, f"w{at}"], [f"g{at}"]))
        nodes.append(helper.make_node("Tanh", [f"g{at}"], [value := f"t{at}"]))
    held.append(numpy_helper.from_array(np.array([1]), "axis"))
    nodes.append(helper.make_node("Squeeze", [value, "axis"], [output]))
    asked = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(view.names)])
    given = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows"])
    graph = helper.make_graph(nodes, "wide", [asked], [given], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="headrace_fingerprint", value=view.fingerprint)
    write_model(
        models,
        ground.app.name,
        model.SerializeToString(),
        fingerprint=view.fingerprint,
        columns=view.describe(),
        outputs=[output],
    )
    return models


def _request(ground: Ground, rows: int, turn: int) -> bytes:
    matrix = np.random.default_rng([SEED, turn]).random((rows, len(ground.app.view.names)), dtype=np.float32)
    request = InferRequest(ground.app.name, inputs={"features": Tensor("features", "FP32", matrix)})
    return post(ground.app.name, *encode_request(request, binary=True), deadline_ms=PATIENT_MS)


def _check(sides: dict[str, Server], request: bytes, rows: int) -> None:
    given = [np.frombuffer(ask(each.http, request)[-4 * rows :], "<f4") for each in sides.values()]
    apart = float(np.abs(given[0] - given[1]).max())
    if not apart <= APART:
        raise ValueError(f"the sides answer otherwise, by {apart:.2g}: their costs do not compare")

"""The servers that are measured side by side: one predictor behind all, every transformer on the same core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np
import orjson

from benchmarks.ground import NOW_MS, PATIENT_MS, Ground
from benchmarks.load import ask
from benchmarks.load_grpc import call
from benchmarks.peers.plain_features import copy_values
from benchmarks.processes import MEASURED, OTHERS, free_port, running
from headrace.cli.stack import Server
from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.grpc.messages import INFERENCE
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.stores.embedded import EmbeddedStore

LEAN, PLAIN, UNDER_STOCK = "headrace", "stock", "headrace under stock"
IN_PROCESS = "headrace in process"
APART = 1e-3  # float64 against float32 along the way; a wrong feature moves the answer further
_DIFFERENT = 32  # requests with other entities, sent in turn


@contextmanager
def transformers(ground: Ground, wanted: Sequence[str]) -> Iterator[tuple[dict[str, Server], Server]]:
    """Run one predictor and some transformers in front of it; give the transformers by side, and the predictor."""
    name, logs = ground.app.name, ground.home / "logs"
    values = plain_values(ground)
    with ExitStack() as stack:
        model = ["--repository", str(ground.models), "--model", name, "--http-port", "0", "--grpc-port", "0"]
        predictor = stack.enter_context(running("predictor", model, logs, OTHERS))
        lean = ["--store", str(ground.store), "--predictor_host", predictor.http, "--http_port", "0"]
        lean += ["--grpc_port", "0", "--deadline_ms", str(PATIENT_MS)]
        plain = [*_stock(name, predictor.grpc), "--predictor_protocol", "grpc-v2", "--values", values]
        ours = [*_stock(name, predictor.http), "--store", str(ground.store)]
        sides = {LEAN: ("transformer", lean), PLAIN: ("benchmarks.peers.stock_plain", plain)}
        sides[UNDER_STOCK] = ("benchmarks.peers.stock_headrace", ours)
        sides[IN_PROCESS] = ("transformer", in_process(ground))
        started = {side: stack.enter_context(running(*sides[side], logs, MEASURED)) for side in wanted}
        if LEAN in started:
            check_agreement(ground, {side: each.http for side, each in started.items()})
        yield started, predictor


def echo(ground: Ground) -> AbstractContextManager[Server]:
    """Run an ASGI server that echoes, on the core of what is measured."""
    return running("benchmarks.peers.echo", [], ground.home / "logs", MEASURED)


def in_process(ground: Ground, store: Path | None = None) -> list[str]:
    """Return the flags of a transformer that runs its model itself."""
    ports = ["--http_port", "0", "--grpc_port", "0", "--deadline_ms", str(PATIENT_MS)]
    return [*ports, "--store", str(store or ground.store), "--predictor_in_process", str(ground.models)]


def plain_values(ground: Ground) -> str:
    """Write the values that every entity has at NOW_MS for the plain peers, and return where."""
    path = ground.home / "values"
    if not path.exists():
        store = EmbeddedStore(ground.store, readonly=True)
        keys = {group.key: np.unique(ground.events[group.key]) for group in ground.app.groups}
        copy_values(store, ground.app.view, keys, NOW_MS, path)
        store.close()
    return str(path)


def tensors(ground: Ground, rows: int, turn: int) -> dict[str, Tensor]:
    """Return a request's tensors, by name."""
    return {name: Tensor.of(name, values) for name, values in ground.asked(rows, turn).items()}


def requests(ground: Ground, rows: int, *, binary: bool = False, count: int = _DIFFERENT) -> list[bytes]:
    """Return ready-made HTTP requests for the same entities on every side."""
    return [_request(ground.app.name, tensors(ground, rows, turn), binary) for turn in range(count)]


def grpc_requests(ground: Ground, rows: int, count: int = _DIFFERENT) -> list[tuple[bytes, bytes]]:
    """Return ready-made gRPC calls with raw contents, for the same entities."""
    made = []
    for turn in range(count):
        message = INFERENCE["ModelInferRequest"](model_name=ground.app.name)
        for name, tensor in tensors(ground, rows, turn).items():
            message.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.array.shape)
            message.raw_input_contents.append(np.ascontiguousarray(tensor.array).tobytes())
        made.append(call("/inference.GRPCInferenceService/ModelInfer", message.SerializeToString()))
    return made


def post(model: str, body: bytes, json_length: int | None, *, deadline_ms: int) -> bytes:
    """Return an HTTP request of a model; a length of the JSON part says that tensors follow it in binary."""
    kind = "json" if json_length is None else "octet-stream"
    head = [f"POST /v2/models/{model}/infer HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    head += [f"Content-Type: application/{kind}", f"headrace-deadline-ms: {deadline_ms}"]
    if json_length is not None:
        head.append(f"Inference-Header-Content-Length: {json_length}")
    return "\r\n".join([*head, "", ""]).encode() + body


def check_agreement(ground: Ground, addresses: Mapping[str, str]) -> None:
    """Raise ValueError unless every side gives the same answers: only then do their costs compare."""
    for rows in (1, 100):
        given = {side: answer(ground, http, rows) for side, http in addresses.items()}
        for side, found in given.items():
            apart = float(np.abs(found - given[LEAN]).max())
            if found.size != rows or not apart <= APART:
                raise ValueError(f"{side} answers otherwise than {LEAN}, by {apart:.2g}: their costs do not compare")


def answer(ground: Ground, http: str, rows: int) -> np.ndarray:
    """Return what a server answers to the first request of so many rows."""
    outputs = orjson.loads(ask(http, requests(ground, rows, count=1)[0]))["outputs"]
    named = {output["name"]: output["data"] for output in outputs}
    return np.array(named[ground.app.outputs[0].name], dtype=np.float64)


def _stock(name: str, predictor: str) -> list[str]:
    ports = ["--http_port", str(free_port()), "--grpc_port", str(free_port())]
    return [*ports, "--model_name", name, "--predictor_host", predictor]


def _request(model: str, inputs: dict[str, Tensor], binary: bool) -> bytes:
    return post(model, *encode_request(InferRequest(model, inputs=inputs), binary=binary), deadline_ms=PATIENT_MS)

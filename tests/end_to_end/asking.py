"""Asking a running server as a person with a terminal does, and reading its refusals."""

from __future__ import annotations

import http.client
import re
from typing import Any

import numpy as np
import orjson

from headrace.open_inference.codec.bodies import encode_request
from headrace.open_inference.tensors import InferRequest, Tensor
from tests.open_inference import asking

MODEL = "fraud"
INFER = f"/v2/models/{MODEL}/infer"
PREDICT = f"/v1/models/{MODEL}:predict"
#: What must never leave a process: where its code and its files lie, and how it failed.
_INSIDE = re.compile(r"Traceback|\.py\b|site-packages|File \"|/tmp|0x[0-9a-f]{6,}|/[a-z]+/[a-z]+/[a-z]+")


class Said(asking.Said):
    """What a server answered."""

    @property
    def error(self) -> str:
        """The reason of a refusal, whose body says nothing but that, and nothing of the server's inside."""
        said = super().error
        assert not _INSIDE.search(said), said
        return said

    def output(self, name: str) -> list[Any]:
        """Return an output's elements."""
        return next(output["data"] for output in self.json["outputs"] if output["name"] == name)


def ask(address: str, method: str, path: str, content: Any = None, **headers: str) -> Said:
    """Ask once, on a connection of its own; content that is not bytes goes as JSON. Header names have `_` for `-`."""
    body = content if isinstance(content, bytes | None) else orjson.dumps(content)
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Said(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def tensor(name: str, values: Any, datatype: str | None = None) -> dict[str, Any]:
    """Return a tensor as JSON; a list of numbers with a datatype, or an array that says its own."""
    array = np.asarray(values)
    said = datatype or {"i": "INT64", "f": "FP64", "b": "BOOL"}[array.dtype.kind]
    data = [None if value != value else value for value in array.tolist()]
    return {"name": name, "shape": list(array.shape), "datatype": said, "data": data}


def request(columns: dict[str, np.ndarray], *outputs: str, **more: Any) -> dict[str, Any]:
    """Return a v2 request in JSON; NaN is written as null."""
    inputs = [tensor(name, values) for name, values in columns.items()]
    return {"inputs": inputs, **({"outputs": [{"name": name} for name in outputs]} if outputs else {}), **more}


def binary(columns: dict[str, np.ndarray], *outputs: str) -> tuple[bytes, dict[str, str]]:
    """Return a v2 request with binary tensors, answered in JSON, and its header."""
    asked = InferRequest(MODEL, inputs={name: Tensor.of(name, values) for name, values in columns.items()})
    head, length = encode_request(asked)
    said = orjson.loads(head[:length]) | {"outputs": [{"name": name} for name in outputs]}
    said["parameters"] = {"binary_data_output": False}
    rewritten = orjson.dumps(said)
    return rewritten + head[length:], {"Inference_Header_Content_Length": str(len(rewritten))}


def infer(address: str, columns: dict[str, np.ndarray], *outputs: str, **headers: str) -> Said:
    """Ask for columns in JSON."""
    return ask(address, "POST", INFER, request(columns, *outputs), **headers)


def instances(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return columns as v1 instances; NaN is written as null."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [{name: None if v != v else v for name, v in zip(columns, row, strict=True)} for row in rows]

"""Raw requests: a body that is one tensor's bytes and nothing else, described by the model's metadata."""

from __future__ import annotations

import math
from typing import Any

from headrace.open_inference.codec import binary_data
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import InferRequest, Tensor, item_size


def decode_raw(body: bytes, metadata: dict[str, Any], model: str, version: str = "") -> InferRequest:
    """Read a body whose Inference-Header-Content-Length is 0; the model must have exactly one input.

    A single dimension that the model leaves open is as long as the bytes say. Answers are binary.
    """
    inputs = metadata.get("inputs", [])
    if len(inputs) != 1:
        raise InvalidRequest(f"model {model!r} has {len(inputs)} inputs, needs one for a request without a JSON part")
    name, datatype, shape = inputs[0]["name"], inputs[0]["datatype"], list(inputs[0]["shape"])
    if datatype == "BYTES" or shape.count(-1) > 1:
        raise InvalidRequest(f"input {name!r} has no shape that follows from its bytes, needs a JSON part that says it")
    row = math.prod(size for size in shape if size != -1) * item_size(datatype)
    if -1 in shape:
        if row == 0 or len(body) % row:
            raise InvalidRequest(f"input {name!r} has {len(body)} bytes, needs a multiple of {row}")
        shape[shape.index(-1)] = len(body) // row
    array = binary_data.array_of(name, datatype, tuple(shape), math.prod(shape), body)
    return InferRequest(model, version, "", {name: Tensor(name, datatype, array)}, binary_default=True)

"""Requests and answers read in both ways: by the compiled loop, and by orjson alone; what is told must be the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, Tensor
from headrace.open_inference.codec import json_numbers
from headrace.open_inference.codec.bodies import decode_request, decode_response


def request(body: bytes, length: int | None = None) -> InferRequest:
    """Return what a request's body says, or raise its refusal."""
    return _both(lambda: decode_request(body, length, "m"))


def response(body: bytes, length: int | None = None) -> InferResponse:
    """Return what an answer's body says, or raise its refusal."""
    return _both(lambda: decode_response(body, length))


def _both(decode: Callable[[], Any]) -> Any:
    json_numbers.prepare()
    usual = json_numbers.LEAST_BYTES
    try:
        json_numbers.LEAST_BYTES = sys.maxsize
        expected = _told(decode)
        json_numbers.LEAST_BYTES = 0
        found = _told(decode)
    finally:
        json_numbers.LEAST_BYTES = usual
    assert _plain(found) == _plain(expected)
    if isinstance(found, InvalidRequest):
        raise found
    return found


def _told(decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except InvalidRequest as refused:
        return refused


def _plain(told: Any) -> Any:
    if isinstance(told, InvalidRequest):
        return told.message
    if isinstance(told, InferRequest):
        tensors = list(told.inputs.values())
        said = [told.id, told.parameters, told.outputs, told.binary_default, list(told.inputs)]
    else:
        tensors, said = told.outputs, [told.model, told.version, told.id, told.parameters]
    return repr(said), [_bits(tensor) for tensor in tensors]


def _bits(tensor: Tensor) -> Any:
    array = tensor.array
    elements = array.tolist() if tensor.datatype == "BYTES" else array.tobytes()
    return tensor.name, tensor.datatype, array.dtype, array.shape, array.flags.writeable, elements

"""What is fuzzed: the codecs of REST and gRPC, each fed bytes, and what must hold whatever they are.

A target raises nothing but a refusal of the protocol. What it decodes is encoded and decoded again: the tensors must be
the same, and no larger than the bytes that carried them allow. JSON is read in both ways there are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from google.protobuf.message import DecodeError

from headrace.open_inference.codec.bodies import decode_request, decode_response, encode_request, encode_response
from headrace.open_inference.codec.raw_request import decode_raw
from headrace.open_inference.errors import OpenInferenceError
from headrace.open_inference.grpc.codec import decode_message, encode_message
from headrace.open_inference.grpc.messages import INFERENCE
from headrace.open_inference.rest.body import decompressed
from headrace.open_inference.tensors import DATATYPES, InferRequest, InferResponse, Tensor
from tests.open_inference.codec import both_ways

#: An element is an object of Python's, at least: no body may become much more memory than its own.
LARGEST_GROWTH = 128
LIMIT = 1 << 16
_KINDS = tuple(DATATYPES)

Target = Callable[[bytes], None]


def rest(data: bytes) -> None:
    """A request body; its first two bytes say how long the JSON part is, 0xffff that all of it is JSON."""
    told, body = int.from_bytes(data[:2], "big"), data[2:]
    try:
        request = both_ways.request(body, None if told == 0xFFFF else told)
    except OpenInferenceError as refusal:
        _plain(refusal)
        return
    _bounded(request, len(body))
    encoded, length = encode_request(request, binary=True)
    _same(request.inputs, decode_request(encoded, length, "m", "").inputs)
    _answered(request)


def answer(data: bytes) -> None:
    """A predictor's answer, in the form of `rest`."""
    told, body = int.from_bytes(data[:2], "big"), data[2:]
    try:
        both_ways.response(body, None if told == 0xFFFF else told)
    except OpenInferenceError as refusal:
        _plain(refusal)


def grpc(data: bytes) -> None:
    """A ModelInferRequest."""
    try:
        request = decode_message(INFERENCE["ModelInferRequest"].FromString(data))
    except DecodeError:
        return
    except OpenInferenceError as refusal:
        _plain(refusal)
        return
    _bounded(request, len(data))
    told = InferResponse("m", "", request.id, list(request.inputs.values()), dict(request.parameters))
    try:
        encode_message(told, request).SerializeToString()
    except OpenInferenceError as refusal:
        _plain(refusal)


def raw(data: bytes) -> None:
    """A body that is one tensor's bytes: its first byte chooses the datatype, its second the columns."""
    if len(data) < 2:
        return
    shape = [-1, data[1]] if data[1] & 1 else [-1, data[1] & 7, 2]
    described = {"name": "x", "datatype": _KINDS[data[0] % len(_KINDS)], "shape": shape}
    try:
        request = decode_raw(data[2:], {"inputs": [described]}, "m")
    except OpenInferenceError as refusal:
        _plain(refusal)
        return
    _bounded(request, len(data))


def compressed(data: bytes) -> None:
    """A compressed body: its first byte chooses the coding."""
    coding = ("gzip", "deflate", "identity", "br")[data[0] % 4 if data else 2]
    try:
        assert len(decompressed(data[1:], coding, LIMIT)) <= max(LIMIT, len(data))
    except OpenInferenceError as refusal:
        _plain(refusal)


TARGETS: dict[str, Target] = {"rest": rest, "answer": answer, "grpc": grpc, "raw": raw, "compressed": compressed}


def _plain(refusal: OpenInferenceError) -> None:
    assert refusal.http_status < 500, refusal.message
    assert 0 < len(refusal.message) < 2000
    refusal.message.encode()


def _bounded(request: InferRequest, size: int) -> None:
    held = sum(tensor.array.nbytes for tensor in request.inputs.values())
    assert held <= LARGEST_GROWTH * size
    for name, tensor in request.inputs.items():
        assert name == tensor.name
        assert tensor.array.dtype == DATATYPES[tensor.datatype]


def _answered(request: InferRequest) -> None:
    told = InferResponse("m", "", request.id, list(request.inputs.values()))
    for request.binary_default in (False, True):
        try:
            body, length = encode_response(told, request)
        except OpenInferenceError as refusal:
            _plain(refusal)
            continue
        found = decode_response(body, length)
        asked = [output.name for output in request.outputs] or list(request.inputs)
        assert [tensor.name for tensor in found.outputs] == asked


def _same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, was in left.items():
        now = right[name]
        assert (was.datatype, was.array.shape) == (now.datatype, now.array.shape)
        if was.datatype == "BYTES":
            assert was.array.tolist() == now.array.tolist()
        else:
            assert np.ascontiguousarray(was.array).tobytes() == np.ascontiguousarray(now.array).tobytes()

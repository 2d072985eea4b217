"""Requests and answers as bodies: JSON alone, or JSON followed by the raw bytes of tensors.

`header_length` is the value of the header Inference-Header-Content-Length: how many bytes of the
body are JSON. None means all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import orjson

from headrace.open_inference.codec import binary_data, json_data, json_numbers
from headrace.open_inference.codec.json_members import flag_of, id_of, parameters_of, requested_of, tensors_of
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

Said = TypeVar("Said")


def decode_request(body: bytes, header_length: int | None, model: str, version: str = "") -> InferRequest:
    """Read an inference request, or raise InvalidRequest saying what is wrong with it.

    >>> body = b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [12.5]}]}'
    >>> decode_request(body, None, "fraud").inputs["amount"].array
    array([12.5])
    """
    return _read(body, header_length, "inputs", lambda head, raw: _request(head, raw, model, version))


def _request(head: dict[str, Any], raw: memoryview, model: str, version: str) -> InferRequest:
    parameters = parameters_of("the request", head)
    inputs = head.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidRequest("the request has no inputs, needs a list 'inputs' of at least one tensor")
    return InferRequest(
        model,
        version,
        id_of(head),
        {tensor.name: tensor for tensor in tensors_of(inputs, raw, "input")},
        requested_of(head.get("outputs")),
        parameters,
        flag_of("the request", parameters, "binary_data_output") or False,
    )


def encode_response(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """Write the outputs that were asked for, in the order asked, each in the form asked."""
    head: dict[str, Any] = {"model_name": response.model}
    if response.version:
        head["model_version"] = response.version
    if request.id:
        head["id"] = request.id
    if response.parameters:
        head["parameters"] = response.parameters
    return _join(
        head,
        "outputs",
        [
            (tensor, request.binary_default if binary is None else binary)
            for tensor, binary in selected(response, request)
        ],
    )


def encode_request(request: InferRequest, binary: bool = True) -> tuple[bytes, int | None]:
    """Write a request as a client does; binary asks for binary answers too."""
    head: dict[str, Any] = {"id": request.id} if request.id else {}
    parameters = {**request.parameters, "binary_data_output": True} if binary else request.parameters
    if parameters:
        head["parameters"] = parameters
    if request.outputs:
        head["outputs"] = [_asked(output) for output in request.outputs]
    return _join(head, "inputs", [(tensor, binary) for tensor in request.inputs.values()])


def decode_response(body: bytes, header_length: int | None) -> InferResponse:
    """Read an inference answer, or raise InvalidRequest saying what is wrong with it."""
    return _read(body, header_length, "outputs", _response)


def _response(head: dict[str, Any], raw: memoryview) -> InferResponse:
    name, outputs = head.get("model_name"), head.get("outputs")
    if not isinstance(name, str) or not isinstance(outputs, list):
        raise InvalidRequest("the answer has no model_name or no outputs, needs both")
    version = head.get("model_version")
    tensors = tensors_of(outputs, raw, "output")
    return InferResponse(name, version or "", head.get("id") or "", tensors, parameters_of("the answer", head))


def selected(response: InferResponse, request: InferRequest) -> list[tuple[Tensor, bool | None]]:
    """Return the answer's outputs that were asked for, in that order, each with the form asked for."""
    if not request.outputs:
        return [(tensor, None) for tensor in response.outputs]
    known = {tensor.name: tensor for tensor in response.outputs}
    for wanted in request.outputs:
        if wanted.name not in known:
            raise InvalidRequest(f"output {wanted.name!r} is unknown, needs one of {', '.join(known)}")
    return [(known[wanted.name], wanted.binary) for wanted in request.outputs]


def _read(
    body: bytes, header_length: int | None, member: str, said: Callable[[dict[str, Any], memoryview], Said]
) -> Said:
    length = _json_length(body, header_length)
    raw = memoryview(body)[length:]
    if (head := json_numbers.loads(body, length, member)) is not None:
        with suppress(InvalidRequest):  # which is said of the lists as they were sent
            return said(head, raw)
        del head  # and its arrays
    return said(_loads(body, length), raw)


def _json_length(body: bytes, header_length: int | None) -> int:
    if not body:
        raise InvalidRequest("the body has 0 bytes, needs a JSON object")
    if header_length is None:
        return len(body)
    if not 0 < header_length <= len(body):
        raise InvalidRequest(
            f"the body has {len(body)} bytes, needs the {header_length} that its JSON part is said to have"
        )
    return header_length


def _loads(body: bytes, length: int) -> dict[str, Any]:
    try:
        head = orjson.loads(memoryview(body)[:length])
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON ({error.msg} at byte {error.pos}), needs a JSON object") from None
    if not isinstance(head, dict):
        raise InvalidRequest(f"the body is a JSON {type(head).__name__}, needs an object")
    return head


def _asked(output: RequestedOutput) -> dict[str, Any]:
    if output.binary is None:
        return {"name": output.name}
    return {"name": output.name, "parameters": {"binary_data": output.binary}}


def _join(head: dict[str, Any], member: str, tensors: list[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    parts: list[bytes] = []
    head[member] = [_described(tensor, parts if binary else None) for tensor, binary in tensors]
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(binary for _, binary in tensors):
        return text, None
    text += b" " * (-len(text) % 8)  # the reader's arrays are views into the body, and should be aligned
    return b"".join((text, *parts)), len(text)


def _described(tensor: Tensor, parts: list[bytes] | None) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tensor.name, "shape": tensor.array.shape, "datatype": tensor.datatype}
    if parts is None:
        said["data"] = json_data.lists_of(tensor.name, tensor.datatype, tensor.array)
    else:
        parts.append(binary_data.bytes_of(tensor.datatype, tensor.array))
        said["parameters"] = {"binary_data_size": len(parts[-1])}
    return said

"""Inference over gRPC: messages into requests, answers into messages. Raw bytes in, raw bytes out."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.open_inference.codec import binary_data
from headrace.open_inference.codec.bodies import selected
from headrace.open_inference.codec.json_members import MAX_NAME, check_spoken
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.grpc.messages import INFERENCE, TYPED_CONTENTS
from headrace.open_inference.tensors import (
    BINARY_ONLY,
    DATATYPES,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    checked_datatype,
    checked_shape,
    few_enough,
)


def decode_message(message: Any) -> InferRequest:
    """Read a ModelInferRequest; its `binary_default` says whether it was raw."""
    if not message.inputs:
        raise InvalidRequest("the request has no inputs, needs at least one tensor")
    raw = message.raw_input_contents
    inputs = {tensor.name: tensor for tensor in _tensors("request", message.inputs, raw, "input")}
    outputs = tuple(_requested(output) for output in message.outputs)
    if len({output.name for output in outputs}) != len(outputs):
        raise InvalidRequest("the request asks for an output twice, needs every output once")
    parameters = _parameters(message)
    return InferRequest(message.model_name, message.model_version, message.id, inputs, outputs, parameters, bool(raw))


def encode_request_message(request: InferRequest) -> Any:
    """Write a ModelInferRequest as a client does, with raw contents."""
    message = INFERENCE["ModelInferRequest"](model_name=request.model, model_version=request.version, id=request.id)
    for key, value in request.parameters.items():
        setattr(message.parameters[key], _parameter_kind(value), value)
    for tensor in request.inputs.values():
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_input_contents.append(binary_data.bytes_of(tensor.datatype, tensor.array))
    for output in request.outputs:
        message.outputs.add(name=output.name)
    return message


def decode_response_message(message: Any) -> InferResponse:
    """Read a ModelInferResponse, or raise InvalidRequest saying what is wrong with it."""
    outputs = _tensors("answer", message.outputs, message.raw_output_contents, "output")
    return InferResponse(message.model_name, message.model_version, message.id, outputs, _parameters(message))


def encode_message(response: InferResponse, request: InferRequest) -> Any:
    """Write a ModelInferResponse with the outputs that were asked for."""
    message = INFERENCE["ModelInferResponse"](model_name=response.model, model_version=response.version, id=request.id)
    for key, value in response.parameters.items():
        setattr(message.parameters[key], _parameter_kind(value), value)
    tensors = [tensor for tensor, _ in selected(response, request)]
    # Typed and raw contents may not be mixed, and not everything has a typed form.
    raw = request.binary_default or any(tensor.datatype in BINARY_ONLY for tensor in tensors)
    for tensor in tensors:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        if raw:
            message.raw_output_contents.append(binary_data.bytes_of(tensor.datatype, tensor.array))
        else:
            getattr(output.contents, TYPED_CONTENTS[tensor.datatype]).extend(_items(tensor))
    return message


def _tensors(owner: str, items: Any, raw: Any, what: str) -> list[Tensor]:
    if raw and len(raw) != len(items):
        raise InvalidRequest(f"the {owner} has {len(raw)} raw_{what}_contents, needs one for each of {len(items)}")
    tensors: list[Tensor] = []
    names: set[str] = set()
    texts = 0
    for at, item in enumerate(items):
        name = _checked_name(item.name, what)
        if name in names:
            raise InvalidRequest(f"{what} {name!r} is there twice, needs every {what} once")
        names.add(name)
        tensors.append(tensor := _tensor(item, raw[at] if raw else None, what))
        if tensor.datatype == "BYTES":
            few_enough(name, texts := texts + tensor.array.size)
    return tensors


def _parameters(message: Any) -> dict[str, Any]:
    return {
        key: getattr(p, p.WhichOneof("parameter_choice") or "string_param") for key, p in message.parameters.items()
    }


def _requested(output: Any) -> RequestedOutput:
    name = _checked_name(output.name, "output")
    if output.parameters:
        check_spoken(f"output {name!r}", output.parameters)
    return RequestedOutput(name)


def _tensor(item: Any, raw: bytes | None, what: str) -> Tensor:
    name, datatype = item.name, item.datatype
    checked_datatype(name, datatype)
    shape, size = checked_shape(name, list(item.shape))
    if raw is None:
        return Tensor(name, datatype, _typed(name, datatype, item.contents, size, what).reshape(shape))
    if item.HasField("contents"):
        raise InvalidRequest(f"{what} {name!r} has contents beside raw_{what}_contents, needs one of them")
    return Tensor(name, datatype, binary_data.array_of(name, datatype, shape, size, raw))


def _typed(name: str, datatype: str, contents: Any, size: int, what: str) -> np.ndarray:
    kind = TYPED_CONTENTS.get(datatype)
    if kind is None:
        raise InvalidRequest(
            f"{what} {name!r} is {datatype} without raw_{what}_contents, needs them: it has no typed form"
        )
    found = getattr(contents, kind)
    if len(found) != size:
        raise InvalidRequest(f"{what} {name!r} has {len(found)} {kind}, needs {size} for its shape")
    if datatype == "BYTES":
        held = np.empty(size, dtype=object)
        held[:] = list(found)
        return held
    try:
        return np.array(found, dtype=DATATYPES[datatype])
    except OverflowError:
        raise InvalidRequest(f"{what} {name!r} holds a number outside the range of {datatype}") from None


def _items(tensor: Tensor) -> list[Any]:
    items = tensor.array.ravel().tolist()
    if tensor.datatype != "BYTES":
        return items
    return [item.encode() if isinstance(item, str) else item for item in items]


def _checked_name(name: str, what: str) -> str:
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidRequest(f"an {what} has no name, needs one of 1 to {MAX_NAME} characters")
    return name


def _parameter_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool_param"
    if isinstance(value, int):
        return "int64_param" if value < 2**63 else "uint64_param"
    return "double_param" if isinstance(value, float) else "string_param"

"""gRPC messages of a valid request, raw or typed, and answers taken apart."""

from __future__ import annotations

import math
from typing import Any

from headrace.conformance.answers import Answer, tensor_of
from headrace.conformance.judging import Finding, NotJudged
from headrace.conformance.sampling import BINARY_ONLY, DATATYPES, Tensor
from headrace.conformance.server import Server
from headrace.open_inference.grpc.messages import INFERENCE, TYPED_CONTENTS


def message(name: str, /, **members: Any) -> Any:
    """Return a message of the inference service by its name."""
    return INFERENCE[name](**members)


def request(server: Server, *, raw: bool = True, **members: Any) -> Any:
    """Return a valid ModelInferRequest; NotJudged where there is none, or none of this kind."""
    if server.why_unasked:
        raise NotJudged(server.why_unasked)
    asking = message("ModelInferRequest", model_name=server.model, **members)
    for tensor in server.sample:
        told = asking.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            asking.raw_input_contents.append(tensor.raw())
        elif tensor.datatype in BINARY_ONLY:
            raise NotJudged(f"{tensor.datatype} has no typed contents")
        else:
            getattr(told.contents, TYPED_CONTENTS[tensor.datatype]).extend(tensor.data)
    return asking


def answer_of(said: Any) -> Answer:
    """Return the inference answer of a ModelInferResponse; Finding where it is none."""
    raw = list(said.raw_output_contents)
    if raw and len(raw) != len(said.outputs):
        raise Finding(f"the answer has {len(raw)} raw_output_contents for {len(said.outputs)} outputs")
    tensors = {}
    for at, item in enumerate(said.outputs):
        if item.datatype not in DATATYPES:
            raise Finding(f"output {item.name!r} has the datatype {item.datatype!r}")
        if raw and item.contents.ListFields():
            raise Finding(f"output {item.name!r} has typed contents beside raw ones, needs one of them")
        shape = tuple(item.shape)
        tensors[item.name] = (
            tensor_of(item.name, item.datatype, shape, raw[at]) if raw else _typed(item, item.datatype, shape)
        )
    return Answer({"model_name": said.model_name, "id": said.id}, tensors)


def _typed(item: Any, datatype: str, shape: tuple[int, ...]) -> Tensor:
    if datatype in BINARY_ONLY:
        raise Finding(f"output {item.name!r} is {datatype} in typed contents, needs raw ones")
    data = tuple(getattr(item.contents, TYPED_CONTENTS[datatype]))
    if len(data) != math.prod(shape):
        raise Finding(f"output {item.name!r} has {len(data)} elements, needs {math.prod(shape)} for {list(shape)}")
    return Tensor(item.name, datatype, shape, data)

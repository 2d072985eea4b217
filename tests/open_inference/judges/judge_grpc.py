"""Typed contents over gRPC, written with Triton's generated stubs: `python judge_grpc.py HOST:PORT`."""

from __future__ import annotations

import sys
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from headrace.open_inference.grpc.messages import INFERENCE

TYPED: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [0.5, -2.25]),
    "FP64": ("fp64_contents", [0.1, float("inf")]),
    "BYTES": ("bytes_contents", [b"a", b"\xff"]),
}


def infer(stub: Any, datatype: str, kind: str, values: list[Any], timeout: float | None = None, name: str = "a") -> Any:
    """Ask with typed contents."""
    request = service_pb2.ModelInferRequest(model_name="echo")
    request.parameters["priority"].int64_param = 3
    tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, kind).extend(values)
    return stub.ModelInfer(request, timeout=timeout)


def refused(code: grpc.StatusCode, reason: str, *request: Any, **more: Any) -> None:
    """Ask and expect a refusal; where trying again may help, it says when."""
    with pytest.raises(grpc.RpcError) as error:
        infer(*request, **more)
    assert error.value.code() == code
    assert error.value.details().startswith(reason)
    again = dict(error.value.trailing_metadata()).get("grpc-retry-pushback-ms")
    assert again == ("1000" if code == grpc.StatusCode.UNAVAILABLE else None)


def fields(message: Any) -> dict[int, tuple[str, Any]]:
    """Return a message's fields as the wire knows them; an enum is an int32 there."""
    kinds = {message.fields[0].TYPE_ENUM: message.fields[0].TYPE_INT32} if message.fields else {}
    return {
        field.number: (
            field.name,
            fields(field.message_type) if field.message_type else kinds.get(field.type, field.type),
        )
        for field in message.fields
    }


def same_on_the_wire() -> None:
    """Our private messages have the numbers and types of Triton's, which lives in this same process."""
    ours_only = {"InferTensor", "TensorMetadata", "InferRequestedOutputTensor", "ModelIndex"}
    theirs = {**vars(service_pb2), **vars(service_pb2.model__config__pb2)}
    for name, message in INFERENCE.items():
        if name in ours_only:
            continue  # nested in Triton's files; compared where they are used
        known = fields(theirs[name].DESCRIPTOR)
        for number, (label, kind) in fields(message.DESCRIPTOR).items():
            assert known[number][0] == label, (name, label)
            assert isinstance(kind, dict) or known[number][1] == kind, (name, label)


def every_kind_of_parameter(stub: Any) -> None:
    """Parameters of all five kinds, of the request, of its tensors and of its outputs, are read."""
    request = service_pb2.ModelInferRequest(model_name="echo")
    tensor = request.inputs.add(name="a", datatype="FP64", shape=[1])
    tensor.contents.fp64_contents.append(1.5)
    for holder in (request, tensor, request.outputs.add(name="a")):
        holder.parameters["b"].bool_param = True
        holder.parameters["i"].int64_param = -3
        holder.parameters["s"].string_param = "x"
        holder.parameters["d"].double_param = 1.5
        holder.parameters["u"].uint64_param = 2**64 - 1
    assert list(stub.ModelInfer(request).outputs[0].contents.fp64_contents) == [1.5]


def main(address: str) -> None:
    """Judge."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for datatype, (kind, values) in TYPED.items():
            said = infer(stub, datatype, kind, values)
            assert list(getattr(said.outputs[0].contents, kind)) == values, datatype
            assert not said.raw_output_contents
            assert said.id == ""
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        refused(invalid, "input 'a' holds a number outside the range of INT8", stub, "INT8", "int_contents", [300])
        refused(invalid, "input 'a' has 0 fp32_contents, needs 1 for its shape", stub, "FP32", "fp64_contents", [1.0])
        refused(invalid, "input 'a' is FP16 without raw_input_contents, needs", stub, "FP16", "fp32_contents", [1.0])
        refused(grpc.StatusCode.DEADLINE_EXCEEDED, "", stub, "FP64", "fp64_contents", [1.0], timeout=0.05, name="wait")
        refused(grpc.StatusCode.UNAVAILABLE, "the echo is gone", stub, "FP64", "fp64_contents", [1.0], name="refuse")
        garbage = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as error:
            garbage(b"\xff\xff\xff")
        assert error.value.code() == invalid
        assert error.value.details() == "the message has 3 bytes that are no ModelInferRequest, needs one"
        same_on_the_wire()
        every_kind_of_parameter(stub)


if __name__ == "__main__":
    main(*sys.argv[1:])

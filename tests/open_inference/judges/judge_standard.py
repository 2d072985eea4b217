"""gRPC's own health and reflection clients as judges of a running echo server: `python judge_standard.py HOST:PORT`."""

from __future__ import annotations

import sys

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICES = {
    "inference.GRPCInferenceService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
SERVING = health_pb2.HealthCheckResponse.SERVING


def health(channel: grpc.Channel) -> None:
    """The server, its service and its model are healthy, also for who watches; nobody else is known."""
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService", "echo"):
        asked = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(asked).status == SERVING
        watched = stub.Watch(asked)
        assert next(watched).status == SERVING
        watched.cancel()
    asked = health_pb2.HealthCheckRequest(service="nobody")
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(asked)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    watched = stub.Watch(asked)
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watched.cancel()


def reflection(channel: grpc.Channel) -> None:
    """What reflection tells is enough to ask a model, without any file of ours."""
    told = ProtoReflectionDescriptorDatabase(channel)
    assert set(told.get_services()) == SERVICES
    pool = DescriptorPool(told)
    for name in SERVICES:
        assert pool.FindServiceByName(name).full_name == name
    infer = pool.FindMethodByName("inference.GRPCInferenceService.ModelInfer")
    kind, answer = GetMessageClass(infer.input_type), GetMessageClass(infer.output_type)
    asked = kind(model_name="echo", id="r7")
    asked.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(1.5)
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", kind.SerializeToString, answer.FromString)
    said = call(asked)
    assert (said.id, list(said.outputs[0].contents.fp64_contents)) == ("r7", [1.5])


def questions_without_an_answer(channel: grpc.Channel) -> None:
    """Reflection refuses within its stream, which goes on."""
    kind = reflection_pb2.ServerReflectionRequest
    asked = [
        kind(file_by_filename="inference.proto"),
        kind(file_containing_symbol="inference.Nothing"),
        kind(all_extension_numbers_of_type="inference.ModelInferRequest"),
        kind(),
        kind(file_containing_symbol="inference.ModelInferRequest"),
    ]
    said = list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(asked)))
    assert [one.error_response.error_code for one in said] == [5, 5, 12, 3, 0]
    assert said[0].error_response.error_message == "there is no file of this name: ask for the list of services"
    assert said[3].error_response.error_message == "the message asks for nothing, needs one of its questions"
    assert said[4].file_descriptor_response.file_descriptor_proto
    garbage = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError) as refused:
        list(garbage(iter([b"\xff\xff"])))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def main(address: str) -> None:
    """Judge."""
    with grpc.insecure_channel(address) as channel:
        health(channel)
        reflection(channel)
        questions_without_an_answer(channel)


if __name__ == "__main__":
    main(*sys.argv[1:])

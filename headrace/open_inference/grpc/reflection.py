"""Server reflection over gRPC: tools such as grpcurl ask it what services and messages there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from headrace.open_inference.grpc.messages import HEALTH, PROTOCOL, REFLECTION
from headrace.open_inference.grpc.notation import File

FILES: tuple[File, ...] = (PROTOCOL, HEALTH, *REFLECTION)
_INVALID, _NOT_FOUND, _UNIMPLEMENTED = 3, 5, 12


def reflection_handlers() -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the service of both versions, v1 and v1alpha."""
    return tuple(_handler(file) for file in REFLECTION)


def _handler(ours: File) -> grpc.GenericRpcHandler:
    request, response = (ours.messages[f"ServerReflection{side}"] for side in ("Request", "Response"))

    async def told(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for raw in messages:
            try:
                asked = request.FromString(raw)
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is no ServerReflectionRequest")
            answer = response(valid_host=asked.host, original_request=asked)
            _tell(asked, answer)
            yield answer.SerializeToString()

    handler = grpc.stream_stream_rpc_method_handler(told)
    return grpc.method_handlers_generic_handler(ours.service_name, {"ServerReflectionInfo": handler})


def _tell(asked: Any, answer: Any) -> None:
    match asked.WhichOneof("parameter_choice"):
        case "list_services":
            for file in FILES:
                answer.list_services_response.service.add(name=file.service_name)
        case "file_by_filename":
            found = [file for file in FILES if file.proto.name == asked.file_by_filename]
            _give(found, "file of this name", answer)
        case "file_containing_symbol":
            found = [file for file in FILES if file.holds(asked.file_containing_symbol)]
            _give(found, "symbol of this name", answer)
        case None:
            _refuse(answer, _INVALID, "the message asks for nothing, needs one of its questions")
        case _:
            _refuse(answer, _UNIMPLEMENTED, "there are no extensions: the messages are proto3")


def _give(found: Sequence[File], what: str, answer: Any) -> None:
    if not found:
        return _refuse(answer, _NOT_FOUND, f"there is no {what}: ask for the list of services")
    answer.file_descriptor_response.file_descriptor_proto.append(found[0].proto.SerializeToString())
    return None


def _refuse(answer: Any, code: int, reason: str) -> None:
    answer.error_response.error_code = code
    answer.error_response.error_message = reason

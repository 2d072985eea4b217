"""The standard health check over gRPC: of the server, of the protocol's service, or of a model by its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from headrace.open_inference.gate import Gate
from headrace.open_inference.grpc.messages import HEALTH, PROTOCOL

_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
#: How soon who watches is told of a change.
WATCH_EVERY_S = 0.25


def health_handler(gate: Gate) -> grpc.GenericRpcHandler:
    """Return the service `grpc.health.v1.Health` over what a gate knows."""

    async def check(raw: bytes, context: Any) -> bytes:
        status = _status(gate, _service(raw))
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the service is unknown, needs that of a model, or none")
        return _answer(status)

    async def watch(raw: bytes, context: Any) -> AsyncIterator[bytes]:
        service, said = _service(raw), -1
        while True:
            status, last = _status(gate, service), gate.draining  # a stream that stayed open would hold up the end
            if status != said:
                said = status
                yield _answer(status)
            if last:
                return
            await asyncio.sleep(WATCH_EVERY_S)

    return grpc.method_handlers_generic_handler(
        HEALTH.service_name,
        {"Check": grpc.unary_unary_rpc_method_handler(check), "Watch": grpc.unary_stream_rpc_method_handler(watch)},
    )


def _service(raw: bytes) -> str:
    try:
        return HEALTH.messages["HealthCheckRequest"].FromString(raw).service
    except DecodeError:
        return "\0"  # the name of nobody


def _status(gate: Gate, service: str) -> int:
    if service in ("", PROTOCOL.service_name):
        return _SERVING if gate.why_not_ready() is None else _NOT_SERVING
    servable = gate.servables.get(service)
    if servable is None:
        return _UNKNOWN
    return _SERVING if servable.readiness() is None and not gate.draining else _NOT_SERVING


def _answer(status: int) -> bytes:
    return HEALTH.messages["HealthCheckResponse"](status=status).SerializeToString()

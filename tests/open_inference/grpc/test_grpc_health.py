"""The standard health check of a gate that changes: who watches is told, and let go when the server is to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio

from headrace.open_inference import Gate
from headrace.open_inference.grpc.messages import HEALTH
from headrace.open_inference.grpc.service import serve_grpc
from tests.open_inference.echo_server import Echo

ASK, ANSWER = HEALTH.messages["HealthCheckRequest"], HEALTH.messages["HealthCheckResponse"]
SERVING, NOT_SERVING = 1, 2


async def health(address: str, name: str, service: str) -> Any:
    async with aio.insecure_channel(address) as channel:
        check = channel.unary_unary(f"/grpc.health.v1.Health/{name}", ASK.SerializeToString, ANSWER.FromString)
        return (await check(ASK(service=service), timeout=20)).status


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "echo"])
def test_who_watches_is_told_of_every_change_until_the_server_is_to_stop(service: str) -> None:
    async def scene() -> list[int]:
        echo = Echo("echo", "no features yet")
        gate = Gate({"echo": echo})
        server = await serve_grpc(gate.servables, "127.0.0.1:0", gate=gate)
        address, told = f"127.0.0.1:{server.headrace_port}", []
        async with aio.insecure_channel(address) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch", ASK.SerializeToString, ANSWER.FromString)
            async for said in watch(ASK(service=service), timeout=20):
                told.append(said.status)
                assert await health(address, "Check", service) == said.status
                if len(told) == 1:
                    echo.reason = None
                elif len(told) == 2:
                    gate.draining = True
        await server.stop(None)
        return told

    assert asyncio.run(scene()) == [NOT_SERVING, SERVING, NOT_SERVING]


def test_what_is_no_message_is_nobodys_name() -> None:
    async def scene() -> None:
        server = await serve_grpc({"echo": Echo("echo")}, "127.0.0.1:0")
        async with aio.insecure_channel(f"127.0.0.1:{server.headrace_port}") as channel:
            with pytest.raises(grpc.RpcError) as refused:
                await channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff", timeout=20)
        await server.stop(None)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        assert refused.value.details() == "the service is unknown, needs that of a model, or none"

    asyncio.run(scene())

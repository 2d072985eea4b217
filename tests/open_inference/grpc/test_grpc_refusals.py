"""A refusal's status reaches the caller, however much there is to say."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest
from headrace.open_inference.bodies_held import SMALL
from headrace.open_inference.gate import Gate
from headrace.open_inference.grpc.messages import INFERENCE
from headrace.open_inference.grpc.service import serve_grpc
from tests.open_inference.echo_server import Echo


class Refusing(Echo):
    """Refuses every request with the same words."""

    def __init__(self, message: str) -> None:
        super().__init__("echo")
        self.message = message

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        raise InvalidRequest(self.message)


def refusal(model: Echo, deadline_s: float, timeout: float | None = None, name: str = "a") -> aio.AioRpcError:
    async def scene() -> aio.AioRpcError:
        server = await serve_grpc({"echo": model}, "127.0.0.1:0", default_deadline_s=deadline_s)
        one = {"name": name, "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [1.5]}}
        asked = INFERENCE["ModelInferRequest"](model_name="echo", inputs=[one]).SerializeToString()
        async with aio.insecure_channel(f"127.0.0.1:{server.headrace_port}") as channel:
            with pytest.raises(aio.AioRpcError) as refused:
                await channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(asked, timeout=timeout)
        await server.stop(None)
        return refused.value

    return asyncio.run(scene())


def details(message: str) -> str | None:
    found = refusal(Refusing(message), 20, 20)
    assert found.code() == grpc.StatusCode.INVALID_ARGUMENT
    return found.details()


@pytest.mark.parametrize("character", ["a", "\x01", "é", "日", "🌊"])
def test_a_long_message_is_cut_and_its_status_stays(character: str) -> None:
    kept = 2000 // len(character.encode())
    assert details(character * 2000) == (
        character * 2000 if kept == 2000 else f"{character * kept}... (2000 characters in all)"
    )
    assert details(character * 400_000) == f"{character * kept}... (400000 characters in all)"


def test_a_call_without_a_deadline_is_told_how_long_the_servers_own_was() -> None:
    found = refusal(Echo("echo"), 0.02, name="wait")
    assert found.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert found.details() == "model 'echo' had no answer when the request's deadline passed: 20 ms were allowed"


def observed(raw: bytes, timeout: float | None = None, *headers: tuple[str, str]) -> tuple[list[Any], list[str]]:
    """Ask an echo; return the models and statuses that are counted, and the ids of what is refused."""

    async def scene() -> tuple[list[Any], list[str]]:
        told, refused, ended = list[Any](), list[str](), asyncio.Event()

        def observe(model: str, status: int, seconds: float | None) -> None:
            told.append((model, status))
            ended.set()

        gate = Gate(
            {"echo": Echo("echo")}, observe=observe, refused=lambda model, why, s: refused.append(why.request_id)
        )
        server = await serve_grpc(gate.servables, "127.0.0.1:0", gate=gate)
        async with aio.insecure_channel(f"127.0.0.1:{server.headrace_port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(aio.AioRpcError):
                await call(raw, timeout=timeout, metadata=headers)
            await ended.wait()
        await server.stop(None)
        return told, refused

    return asyncio.run(scene())


def wanted(name: str, **more: str) -> bytes:
    one = {"name": name, "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [1.5]}}
    message: bytes = INFERENCE["ModelInferRequest"](model_name="echo", inputs=[one], **more).SerializeToString()
    return message


def test_what_its_callers_deadline_ends_is_counted_as_late_and_not_as_left() -> None:
    assert observed(wanted("wait"), 0.5)[0] == [("echo", 504)]


def test_a_message_that_is_none_is_counted() -> None:
    assert observed(b"\xff\xff\xff")[0] == [("echo", 400)]


@pytest.mark.parametrize(("own", "said"), [("", "from-outside"), ("own", "own")])
def test_a_refusal_is_told_with_the_id_its_request_has(own: str, said: str) -> None:
    assert observed(wanted("refuse", id=own), None, ("x-request-id", "from-outside")) == ([("echo", 503)], [said])


def test_a_large_message_beyond_all_that_is_held_is_refused() -> None:
    told: list[Any] = []

    async def scene() -> tuple[grpc.StatusCode, int]:
        gate = Gate({"echo": Echo("echo")}, observe=lambda model, status, seconds: told.append((model, status)))
        gate.held.most = 0
        server = await serve_grpc(gate.servables, "127.0.0.1:0", gate=gate)
        async with aio.insecure_channel(f"127.0.0.1:{server.headrace_port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            await call(wanted("amount"))
            with pytest.raises(aio.AioRpcError) as refused:
                await call(wanted("amount", id="a" * (SMALL + 1)))
        await server.stop(None)
        return refused.value.code(), gate.held.size

    assert asyncio.run(scene()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 0)
    assert told == [("echo", 200), ("echo", 429)]

"""Who is let in: not ready, draining and full servers, asked over HTTP without a network."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from headrace.open_inference import DeadlinePassed, InferRequest, InferResponse, make_app
from tests.open_inference.asking import ask, asked
from tests.open_inference.echo_server import Echo

LATE = "model 'echo' had no answer when the request's deadline passed"
AMOUNT = {"inputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, 2]}]}
INFER = "/v2/models/echo/infer"
WAITS = {"inputs": [{"name": "wait", "shape": [1], "datatype": "FP64", "data": [1.5]}]}


def test_a_model_that_is_not_ready_is_not_asked() -> None:
    away = make_app({"echo": Echo("echo", "no features yet")})
    said = ask(away, "POST", INFER, AMOUNT)
    assert (said.status, said.error) == (503, "model 'echo' is not ready: no features yet")
    said = ask(away, "GET", "/v2/health/ready")
    expected = {"live": True, "ready": False, "error": "model 'echo' is not ready: no features yet"}
    assert (said.status, said.json) == (503, expected)
    assert ask(away, "GET", "/v2/models/echo/ready").status == 503
    assert ask(away, "GET", "/v2/health/live").status == 200


def test_a_draining_server_is_not_ready_and_answers_still() -> None:
    draining = make_app({"echo": Echo("echo")})
    draining.gate.draining = True
    assert ask(draining, "GET", "/readyz").json["error"] == "the server is about to stop"
    said = ask(draining, "POST", INFER, AMOUNT)
    assert (said.status, said.headers["connection"]) == (200, "close")


def test_more_requests_than_there_is_room_for_are_refused() -> None:
    async def both() -> tuple[Any, Any]:
        begun = asyncio.Event()

        class Busy(Echo):
            async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
                begun.set()
                return await super().infer(request, deadline)

        full = make_app({"echo": Busy("echo")}, max_in_flight=1)
        wait = orjson.dumps(WAITS)
        waiting = asyncio.create_task(asked(full, "POST", INFER, {"headrace-deadline-ms": "30"}, wait))
        await begun.wait()
        refused = await asked(full, "POST", INFER, {}, orjson.dumps(AMOUNT))
        assert (await waiting).status == 504  # type: ignore[union-attr]
        return refused, await asked(full, "POST", INFER, {}, orjson.dumps(AMOUNT))

    refused, answered = asyncio.run(both())
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert refused.error == "1 requests are under way, needs fewer than 1: try later"
    assert answered.status == 200


def test_a_deadline_that_passes_is_told_with_the_time_there_was() -> None:
    asked_for = ask(make_app({"echo": Echo("echo")}), "POST", INFER, WAITS, headrace_deadline_ms="12.5")
    assert (asked_for.status, asked_for.error) == (504, f"{LATE}: 12.5 ms were allowed")
    own = make_app({"echo": Echo("echo")}, default_deadline_s=0.02)
    assert ask(own, "POST", INFER, WAITS).error == f"{LATE}: 20 ms were allowed"
    sooner = {**WAITS, "parameters": {"timeout": 5_000}}
    assert ask(own, "POST", INFER, sooner).error == f"{LATE}: 5 ms were allowed"
    later = {**WAITS, "parameters": {"timeout": 60_000_000}}
    assert ask(own, "POST", INFER, later).error == f"{LATE}: 20 ms were allowed"


def test_a_model_that_is_late_itself_is_told_in_its_words_to_each_with_the_time_it_had() -> None:
    shared = DeadlinePassed("the store gave no answer")

    class Slow(Echo):
        async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
            raise shared

        async def predict_v1(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
            raise shared

    app = make_app({"echo": Slow("echo")}, default_deadline_s=60)
    for allowed, told in ({"headrace_deadline_ms": "50"}, "50 ms"), ({}, "60000 ms"):
        for path, body in (INFER, AMOUNT), ("/v1/models/echo:predict", {"instances": []}):
            said = ask(app, "POST", path, body, **allowed)
            assert (said.status, said.error) == (504, f"the store gave no answer: {told} were allowed")


def test_a_request_may_say_in_microseconds_how_long_it_can_wait() -> None:
    app = make_app({"echo": Echo("echo")}, default_deadline_s=60)
    said = ask(app, "POST", INFER, {**WAITS, "parameters": {"timeout": 20_000}})
    assert (said.status, said.error) == (504, f"{LATE}: 20 ms were allowed")
    for wrong in (0, -1, "soon", True):
        said = ask(app, "POST", INFER, {**AMOUNT, "parameters": {"timeout": wrong}})
        assert (said.status, said.error) == (
            400,
            "the parameter timeout is no positive number, needs microseconds such as 50000",
        )

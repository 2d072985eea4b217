"""The HTTP side, asked without a network: every route, every refusal, every header."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import numpy as np
import orjson
import pytest

from headrace.open_inference import (
    InferRequest,
    InferResponse,
    Tensor,
    decode_response,
    encode_request,
    make_app,
)
from tests.open_inference.asking import ask, asked
from tests.open_inference.echo_server import Echo

AMOUNT = {"inputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, 2]}]}
INFER = "/v2/models/echo/infer"


class Single(Echo):
    """A model of one input, which is what raw requests need."""

    def metadata(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [],
        }


class Silent:
    """A model that does not speak v1."""

    name, versions = "silent", ()

    def readiness(self) -> str | None:
        return None


def app(**settings: Any) -> Any:
    models = {"echo": Echo("echo"), "single": Single("single"), "silent": Silent()}
    return make_app(models, **{"max_body_bytes": 1000, "metrics": lambda: b"up 1\n", **settings})  # type: ignore[arg-type]


def with_input(name: str) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [4711.5]}]}


def test_json_is_answered_in_json_without_a_content_type() -> None:
    said = ask(app(), "POST", INFER, {**AMOUNT, "id": "7"})
    assert (said.status, said.headers["content-type"]) == (200, "application/json")
    assert said.json == {
        "model_name": "echo",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [1.5, 2.0]}],
    }


def test_json_in_and_binary_out() -> None:
    said = ask(app(), "POST", INFER, {**AMOUNT, "outputs": [{"name": "amount", "parameters": {"binary_data": True}}]})
    assert said.headers["content-type"] == "application/octet-stream"
    found = decode_response(said.body, int(said.headers["inference-header-content-length"]))
    assert found.output("amount").tolist() == [1.5, 2.0]


@pytest.mark.parametrize("version", ["", "/versions/1"])
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
def test_binary_in_and_out_in_every_coding(version: str, coding: str) -> None:
    tensor = Tensor.of("small", np.arange(4, dtype="f4"))
    body, length = encode_request(InferRequest("echo", inputs={"small": tensor}))
    packed = {"identity": body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[coding]
    headers = {"inference_header_content_length": str(length), "content_encoding": coding}
    said = ask(app(), "POST", f"/v2/models/echo{version}/infer", packed, **headers)
    found = decode_response(said.body, int(said.headers["inference-header-content-length"]))
    assert found.output("small").tolist() == [0, 1, 2, 3]


def test_a_raw_request_is_the_bytes_of_the_only_input() -> None:
    said = ask(
        app(),
        "POST",
        "/v2/models/single/infer",
        np.arange(4, dtype="f4").tobytes(),
        inference_header_content_length="0",
    )
    found = decode_response(said.body, int(said.headers["inference-header-content-length"]))
    assert found.output("features").tolist() == [[0, 1], [2, 3]]


ABOUT = {
    "name": "headrace",
    "version": "",
    "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
}
GET = {
    "/": {"status": "alive"},
    "/v2": ABOUT,
    "/v2/": ABOUT,
    "/v2/health/live": {"live": True},
    "/livez": {"live": True},
    "/v2/health/ready": {"live": True, "ready": True},
    "/readyz": {"live": True, "ready": True},
    "/v2/models": {"models": ["echo", "single", "silent"]},
    "/v1/models": {"models": ["echo", "single", "silent"]},
    "/v1/models/echo": {"name": "echo", "ready": True},
    "/v2/models/echo": Echo("echo").metadata(),
    "/v2/models/echo/versions/1": Echo("echo").metadata(),
    "/v2/models/echo/ready": {"name": "echo", "ready": True},
    "/v2/models/echo/versions/1/ready": {"name": "echo", "ready": True},
    "/v2/models/echo/config": Echo("echo").config(),
    "/v2/models/echo/versions/1/config": Echo("echo").config(),
}


@pytest.mark.parametrize("path", GET)
def test_a_question_is_answered(path: str) -> None:
    said = ask(app(), "GET", path)
    assert (said.status, said.json) == (200, GET[path])


def test_metrics_are_text() -> None:
    said = ask(app(), "GET", "/metrics")
    assert (said.body, said.headers["content-type"]) == (b"up 1\n", "text/plain; version=0.0.4; charset=utf-8")
    assert ask(app(metrics=None), "GET", "/metrics").status == 404


def test_v1_instances_become_predictions() -> None:
    said = ask(app(), "POST", "/v1/models/echo:predict", {"instances": [{"amount": 1}]})
    assert (said.status, said.json) == (200, {"predictions": [{"amount": 1}]})


REFUSED: dict[str, tuple[str, str, Any, dict[str, str], int, str]] = {
    "model": ("POST", "/v2/models/x/infer", AMOUNT, {}, 404, "model 'x' is unknown, needs one of echo, single, silent"),
    "version": (
        "POST",
        "/v2/models/echo/versions/9/infer",
        AMOUNT,
        {},
        404,
        "model 'echo' has no version '9', needs one of 1",
    ),
    "unversioned": (
        "GET",
        "/v2/models/silent/versions/9",
        b"",
        {},
        404,
        "model 'silent' has no version '9', and no versions at all: needs to be asked without one",
    ),
    "route": ("GET", "/v3", b"", {}, 404, "there is no such route, needs one of the Open Inference Protocol"),
    "model route": ("GET", "/v2/models/echo/x", b"", {}, 404, "there is no such route of model 'echo', needs infer"),
    "method": ("GET", INFER, b"", {}, 405, "the method is 'GET', needs POST"),
    "v1 method": ("GET", "/v1/models/echo:predict", b"", {}, 405, "the method is 'GET', needs POST"),
    "get method": ("POST", "/v2", b"", {}, 405, "the method is 'POST', needs GET"),
    "silent": (
        "POST",
        "/v1/models/silent:predict",
        {"instances": []},
        {},
        404,
        "model 'silent' does not answer v1 requests, needs v2",
    ),
    "v1 json": ("POST", "/v1/models/echo:predict", b"{", {}, 400, "the body is not JSON ("),
    "v1 body": (
        "POST",
        "/v1/models/echo:predict",
        {},
        {},
        400,
        "the body has no instances, needs an object with a list",
    ),
    "body": ("POST", INFER, b"{", {}, 400, "the body is not JSON ("),
    "deadline": (
        "POST",
        INFER,
        AMOUNT,
        {"headrace_deadline_ms": "-1"},
        400,
        "the header headrace-deadline-ms is no positive number, needs milliseconds such as 50",
    ),
    "deadline nan": ("POST", INFER, AMOUNT, {"headrace_deadline_ms": "nan"}, 400, "the header headrace-deadline-ms is"),
    "deadline word": (
        "POST",
        INFER,
        AMOUNT,
        {"headrace_deadline_ms": "soon"},
        400,
        "the header headrace-deadline-ms is",
    ),
    "deadline inf": ("POST", INFER, AMOUNT, {"headrace_deadline_ms": "inf"}, 400, "the header headrace-deadline-ms is"),
    "length": (
        "POST",
        INFER,
        AMOUNT,
        {"inference_header_content_length": "x"},
        400,
        "the header Inference-Header-Content-Length is no number of bytes, needs one such as 120",
    ),
    "output": (
        "POST",
        INFER,
        {**AMOUNT, "outputs": [{"name": "score"}]},
        {},
        400,
        "output 'score' is unknown, needs one of amount",
    ),
    "announced": (
        "POST",
        INFER,
        AMOUNT,
        {"content_length": "1001"},
        413,
        "the body has 1001 bytes, needs at most 1000",
    ),
    "large": ("POST", INFER, b"x" * 1001, {}, 413, "the body has more than 1000 bytes, needs at most 1000"),
    "coding": (
        "POST",
        INFER,
        AMOUNT,
        {"content_encoding": "br"},
        400,
        "the body has the content encoding 'br', needs gzip, deflate or identity",
    ),
    "not gzip": (
        "POST",
        INFER,
        AMOUNT,
        {"content_encoding": "gzip"},
        400,
        "the body is not gzip as its content encoding",
    ),
    "cut gzip": (
        "POST",
        INFER,
        gzip.compress(b"{}")[:-4],
        {"content_encoding": "gzip"},
        400,
        "the body is not one complete gzip stream, needs exactly one",
    ),
    "bomb": (
        "POST",
        INFER,
        gzip.compress(bytes(500_000)),
        {"content_encoding": "gzip"},
        413,
        "the body has more than 1000 bytes, needs at most 1000",
    ),
    "raw": (
        "POST",
        INFER,
        b"1234",
        {"inference_header_content_length": "0"},
        400,
        "model 'echo' has 6 inputs, needs one for a request without a JSON part",
    ),
    "raw size": (
        "POST",
        "/v2/models/single/infer",
        b"1234",
        {"inference_header_content_length": "0"},
        400,
        "input 'features' has 4 bytes, needs a multiple of 8",
    ),
    "late": (
        "POST",
        INFER,
        with_input("wait"),
        {"headrace_deadline_ms": "1"},
        504,
        "model 'echo' had no answer when the request's deadline passed: 1 ms were allowed",
    ),
    "refused": ("POST", INFER, with_input("refuse"), {}, 503, "the echo is gone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_with_its_reason(case: str) -> None:
    method, path, content, headers, status, reason = REFUSED[case]
    said = ask(app(), method, path, content, **headers)
    assert said.status == status
    assert said.error.startswith(reason)
    assert ("allow" in said.headers) == (status == 405)
    assert ("retry-after" in said.headers) == (status == 503)


def test_an_unforeseen_fault_is_an_id_for_the_caller_and_a_trace_without_its_words_for_the_log(capfd: Any) -> None:
    said = ask(app(), "POST", INFER, with_input("broken"))
    logged = capfd.readouterr().err
    assert said.status == 500
    assert said.error.startswith("internal error, id ")
    assert said.error in logged
    assert "RuntimeError" in logged
    assert "in infer" in logged
    assert "4711" not in logged


def test_every_inference_is_observed() -> None:
    seen: list[tuple[str, int]] = []
    watched = app(observe=lambda model, status, seconds: seen.append((model, status)))
    for path, content in (
        (INFER, AMOUNT),
        (INFER, b"{"),
        ("/v2/models/x/infer", AMOUNT),
        (INFER, with_input("broken")),
    ):
        ask(watched, "POST", path, content)
    ask(watched, "GET", "/v2")
    asyncio.run(asked(watched, "POST", INFER, {}, None))
    assert seen == [("echo", 200), ("echo", 400), ("", 404), ("echo", 500), ("echo", 499)]


def test_a_body_may_come_in_pieces() -> None:
    body = orjson.dumps(AMOUNT)
    said = asyncio.run(asked(app(), "POST", INFER, {}, body[:10], b"", body[10:]))
    assert said is not None
    assert said.status == 200


def test_a_body_in_pieces_is_refused_before_all_of_it_is_read() -> None:
    said = asyncio.run(asked(app(), "POST", INFER, {}, b"x" * 600, b"x" * 600, b"never read"))
    assert said is not None
    assert (said.status, said.error) == (413, "the body has more than 1000 bytes, needs at most 1000")


@pytest.mark.parametrize("chunks", [(None,), (b"{", None)])
def test_a_caller_that_hangs_up_gets_nothing(chunks: tuple[bytes | None, ...]) -> None:
    assert asyncio.run(asked(app(), "POST", INFER, {}, *chunks)) is None


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ([{"type": "http.request", "body": b"{", "more_body": True}], "stopped after 1 bytes, needs the rest"),
        ([], "did not begin, needs it"),
    ],
)
def test_a_body_that_stops_coming_is_refused(
    monkeypatch: pytest.MonkeyPatch, first: list[dict[str, Any]], reason: str
) -> None:
    monkeypatch.setattr("headrace.open_inference.rest.body.ARRIVAL_S", 0.01)
    sent: list[dict[str, Any]] = []
    first = list(first)

    async def receive() -> Any:
        return first.pop() if first else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app()({"type": "http", "method": "POST", "path": INFER, "headers": []}, receive, send))
    assert sent[0]["status"] == 400
    assert orjson.loads(sent[1]["body"]) == {"error": f"the body {reason} within 0.01 s"}


def test_what_is_not_http_is_left_alone() -> None:
    asyncio.run(app()({"type": "lifespan"}, None, None))


def test_a_model_of_the_own_loop_may_answer_nothing() -> None:
    class Empty(Echo):
        async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
            return InferResponse(request.model)

    said = ask(make_app({"echo": Empty("echo")}), "POST", INFER, AMOUNT)
    assert said.json == {"model_name": "echo", "outputs": []}

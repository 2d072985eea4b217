"""The client against servers that fail in every way one can."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from headrace.open_inference import (
    DeadlinePassed,
    InferResponse,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
    Tensor,
)
from headrace.open_inference.client.model_client import Asking, PredictorClient

ANSWER = b'{"model_name": "m", "outputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [2.5]}]}'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(*answers: bytes | None, then_close: bool = False) -> Serve:
    """A server that gives these answers in turn; None is hanging up without one."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: " in head:
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            answer = left.pop(0)
            if answer is None:
                break
            writer.write(answer)
            if then_close:
                break
        writer.close()

    return serve


def http(status: int, body: bytes, *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


Ask = Callable[[PredictorClient], Awaitable[Any]]


def outcome(serve: Serve, ask: Ask | None = None, left_s: float = 10.0, how: Asking | None = None) -> Any:
    """Start a server, ask it once, and return the answer or the error."""

    async def scene() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, PredictorClient(f"http://127.0.0.1:{port}", "m", how=how) as client:
            deadline = asyncio.get_running_loop().time() + left_s
            try:
                return await (ask(client) if ask else client.infer([Tensor.of("a", [1.5])], deadline=deadline))
            except OpenInferenceError as error:
                return error

    return asyncio.run(scene())


def test_a_json_answer_is_read_too() -> None:
    said = outcome(answering(http(200, ANSWER)))
    assert isinstance(said, InferResponse)
    assert said.output("a").tolist() == [2.5]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PredictorFailed),
        (404, PredictorFailed),
        (500, PredictorFailed),
        (429, Overloaded),
        (503, NotReady),
        (504, DeadlinePassed),
    ],
)
def test_a_refusal_becomes_ours_with_its_reason(status: int, kind: type[OpenInferenceError]) -> None:
    said = outcome(answering(http(status, b'{"error": "no such thing"}')))
    assert type(said) is kind
    assert said.message == f"the predictor of 'm' said {status}: no such thing"


@pytest.mark.parametrize("said", ["[request id: <id_unknown>] Exceeds maximum queue size", "Request timeout expired"])
def test_a_queue_of_tritons_without_room_is_an_overload(said: str) -> None:
    refused = outcome(answering(http(503, f'{{"error": "{said}"}}'.encode())))
    assert type(refused) is Overloaded
    assert refused.retry_after_s is not None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": 3}', b""])
def test_a_refusal_without_a_reason_says_so(body: bytes) -> None:
    assert outcome(answering(http(500, body))).message == "the predictor of 'm' said 500: no reason given"


@pytest.mark.parametrize("body", [b"{}", b"", b"<html>", ANSWER.replace(b"[1]", b"[2]")])
def test_an_answer_that_is_none_is_the_predictors_failure(body: bytes) -> None:
    said = outcome(answering(http(200, body)))
    assert type(said) is PredictorFailed
    assert said.message.startswith("the predictor of 'm' gave no answer: ")


def test_a_connection_that_breaks_is_tried_once_more() -> None:
    assert outcome(answering(None, http(200, ANSWER))).output("a").tolist() == [2.5]
    said = outcome(answering(None, None, http(200, ANSWER)))
    assert type(said) is NotReady
    assert (
        said.message
        == "the predictor of 'm' cannot be reached (connection closed), needs a listening server: try later"
    )


def test_an_answer_that_breaks_off_is_the_predictors_failure() -> None:
    said = outcome(answering(http(200, ANSWER)[:-9], then_close=True))
    assert type(said) is PredictorFailed
    assert said.message == "the predictor of 'm' broke off its answer"


def test_a_server_that_is_not_there_is_not_ready() -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else can take the port
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"

        async def scene() -> None:
            async with PredictorClient(url, "m") as client:
                assert not await client.ready()
                with pytest.raises(NotReady) as refused:
                    await client.infer([Tensor.of("a", [1.5])])
                assert refused.value.message.startswith(
                    "the predictor of 'm' cannot be reached (connection refused), n"
                )

        asyncio.run(scene())


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and answer nothing, until the caller hangs up."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize("left_s", [0.02, 0.0, -1.0])
def test_the_deadline_ends_a_call(left_s: float) -> None:
    said = outcome(never, left_s=left_s)
    assert type(said) is DeadlinePassed
    assert said.message == "the predictor of 'm' had no answer when the request's deadline passed"


def test_questions_about_a_model_need_an_object() -> None:
    said = outcome(answering(http(200, b"[]")), lambda client: client.config())
    assert type(said) is PredictorFailed
    assert said.message == "the predictor of 'm' answered no JSON object about its model"


PACKED = http(200, ANSWER, "content-encoding: gzip")
BINARY = http(200, ANSWER, "inference-header-content-length: 1e3")
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PACKED, "the predictor of 'm' packed its answer, needs it as it is"),
        (SSH, "the predictor of 'm' did not answer in HTTP, needs a v2 server"),
        (BINARY, "the predictor of 'm' told no number as the length of its JSON part"),
        (
            http(200, ANSWER + b" " * 200),
            "the predictor of 'm' gave an answer of more than 200 bytes, which is the most that is read",
        ),
    ],
    ids=["packed", "not HTTP", "a length that is none", "too long"],
)
def test_an_answer_that_cannot_be_read_is_said(answer: bytes, said: str) -> None:
    found = outcome(answering(answer), how=Asking(longest=200))
    assert type(found) is PredictorFailed
    assert found.message.startswith(said)


def test_headers_go_with_a_request_and_none_that_begins_another() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(200, ANSWER))
        writer.close()

    async def ask(client: PredictorClient) -> InferResponse:
        headers = {"x-request-id": "é7", "traceparent": "00-aa-bb-01", "x-bad": "1\r\nx-evil: 2"}
        return await client.infer([Tensor.of("a", [1.5])], headers=headers)

    assert isinstance(outcome(serve, ask), InferResponse)
    (head,) = heads
    assert b"\r\nx-request-id: \xe97\r\n" in head
    assert b"\r\ntraceparent: 00-aa-bb-01\r\n" in head
    assert b"evil" not in head


@pytest.mark.parametrize(
    ("url", "how", "said"),
    [
        ("ftp://p", Asking(), "the predictor's address is 'ftp://p', needs a host, a host and port, or a URL of these"),
        ("http://", Asking(), "the predictor's address is 'http://', needs a host"),
        ("http://p/v2", Asking(), "the predictor's address is 'http://p/v2', needs a host"),
        ("http://p:many", Asking(), "the predictor at 'http://p:many' cannot be asked: Port could not be cast"),
        ("http://a..b", Asking(), "the predictor at 'http://a..b' cannot be asked: encoding with 'idna' codec failed"),
        (f"http://{'x' * 64}.example", Asking(), f"the predictor at 'http://{'x' * 64}.example' cannot be asked"),
        ("https://p", Asking(ca_file="nowhere.pem"), "the predictor at 'https://p' cannot be asked: [Errno 2] No such"),
        ("http://p", Asking(protocol="v1"), "the predictor's protocol is 'v1', needs v2 or grpc-v2"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(url: str, how: Asking, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        PredictorClient(url, "m", how=how)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("url", "site"),
    [("http://p", "p"), ("https://p/", "p"), ("http://p:8000", "p:8000"), ("http://[::1]:80", "[::1]")],
)
def test_a_server_is_named_as_in_a_host_header(url: str, site: str) -> None:
    assert str(PredictorClient(url, "m").site) == site


def test_a_closed_client_opens_again() -> None:
    async def ask(client: PredictorClient) -> Any:
        await client.metadata()
        await client.close()
        return await client.metadata()

    assert outcome(answering(http(200, b"{}"), http(200, b"{}"), then_close=True), ask) == {}

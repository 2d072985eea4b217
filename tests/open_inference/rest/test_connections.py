"""What a connection may take, on real sockets: slow, silent, greedy and broken callers are cut off, and counted."""

from __future__ import annotations

import gzip
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.open_inference.live import Live, started
from tests.open_inference.sockets import (
    AMOUNT,
    INFER,
    WAIT,
    answer,
    connected,
    cut,
    metric,
    post,
    said,
    to_the_end,
    until,
)

BOUNDS = {"head_s": 0.4, "body_s": 0.4, "answer_s": 0.4, "idle_s": 0.8, "headers": 12, "pipelined": 4}


@pytest.fixture(scope="module")
def brisk() -> Iterator[Live]:
    """A server that waits for nobody longer than a second; it ends well after all that was done to it."""
    live = started("--bounds", json.dumps(BOUNDS))
    yield live
    live.process.send_signal(signal.SIGTERM)
    spoken, complained = live.process.communicate(timeout=20)
    assert (live.process.returncode, spoken, complained) == (0, "", "")


@pytest.fixture(autouse=True)
def well(brisk: Live) -> Iterator[None]:
    """Whatever a caller does, the next one is answered, and nothing is left of the first."""
    yield
    with connected(brisk) as connection:
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
    until(lambda: metric(brisk, "headrace_requests_pending") == 0, "that no request is left")


@pytest.mark.parametrize("sent", [b"", b"GET /v2 HTT", b"GET /v2 HTTP/1.1\r\nhost: x\r\nslow: "])
def test_who_says_nothing_or_stops_in_a_head_is_hung_up_on(brisk: Live, sent: bytes) -> None:
    assert said(brisk, sent) == b""


def test_who_stops_in_a_body_is_told_and_hung_up_on(brisk: Live) -> None:
    told = said(brisk, post(AMOUNT)[:-10])
    assert told.startswith(b"HTTP/1.1 408 ")
    assert told.endswith(b'{"error":"the body stopped after 71 bytes, needs the rest within 0.4 s"}')


def test_a_connection_nothing_is_asked_on_is_closed(brisk: Live) -> None:
    with connected(brisk) as connection:
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
        assert to_the_end(connection) == b""


def test_who_does_not_read_its_answers_is_cut_off(brisk: Live) -> None:
    many = b"[" + b",".join([b"1.5"] * 200_000) + b"]"
    large = b'{"inputs": [{"name": "amount", "shape": [200000], "datatype": "FP64", "data": ' + many + b"}]}"
    before = metric(brisk, cut("unread"))
    with connected(brisk, receive_buffer=4096) as connection:
        connection.settimeout(0.2)
        try:
            for _ in range(20):
                connection.sendall(post(large))
        except OSError:  # it stops reading where it cannot write
            pass
        until(lambda: metric(brisk, cut("unread")) == before + 1, "that it is cut off")


@pytest.mark.parametrize(
    ("reason", "status", "sent", "error"),
    [
        (
            "head",
            431,
            b"GET /v2 HTTP/1.1\r\nx: " + b"x" * (65 << 10),
            "the head of the request has more than 65536 bytes, needs fewer",
        ),
        (
            "head",
            431,
            b"GET /v2 HTTP/1.1\r\nx: " + b"x" * (65 << 10) + b"\r\n\r\n",
            "the head of the request has more than 65536 bytes, needs fewer",
        ),
        (
            "head",
            431,
            b"GET /v2 HTTP/1.1\r\n" + b"a: b\r\n" * 13 + b"\r\n",
            "the request has 13 headers, needs at most 12",
        ),
        (
            "body",
            413,
            f"POST {INFER} HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n".encode(),
            "the body has 99999999999 bytes, needs at most 1048576",
        ),
        (
            "body",
            413,
            f"POST {INFER} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".encode()
            + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 33,
            "the body has more than 1048576 bytes, needs at most 1048576",
        ),
        ("malformed", 400, b"nonsense\r\n\r\n", "Invalid HTTP request received."),
        ("malformed", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Invalid HTTP request received."),
        (
            "malformed",
            400,
            f"POST {INFER} HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".encode(),
            "Invalid HTTP request received.",
        ),
        (
            "malformed",
            400,
            f"POST {INFER} HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n".encode(),
            "Invalid HTTP request received.",
        ),
    ],
    ids=[
        "head in parts",
        "head at once",
        "headers",
        "length",
        "chunks",
        "no HTTP",
        "HTTP/2",
        "two lengths",
        "overflow",
    ],
)
def test_what_exceeds_a_bound_is_refused_before_it_is_kept(
    brisk: Live, reason: str, status: int, sent: bytes, error: str
) -> None:
    before = metric(brisk, cut(reason))
    told = said(brisk, sent)
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head
    assert json.loads(body) == {"error": error}
    assert metric(brisk, cut(reason)) == before + 1


def test_answers_come_in_the_order_of_requests_sent_ahead(brisk: Live) -> None:
    asked = b"".join(post(AMOUNT.replace(b"1.5", b"%d" % number)) for number in range(4))
    with connected(brisk) as connection:
        connection.sendall(asked)
        found = b""
        while found.count(b'"data":[') < 4:
            found += connection.recv(1 << 16)
    assert [part[:3] for part in found.split(b'"data":[')[1:]] == [b"0.0", b"1.0", b"2.0", b"3.0"]


def test_requests_sent_too_far_ahead_end_the_connection_once_those_before_are_answered(brisk: Live) -> None:
    before = metric(brisk, cut("pipelined"))
    told = said(brisk, post(WAIT, "headrace-deadline-ms: 200") + post(AMOUNT) * 6)
    assert [part[:3] for part in told.split(b"HTTP/1.1 ")[1:]] == [b"504", *[b"200"] * 4, b"400"]
    assert told.endswith(b'{"error":"more than 4 requests wait for an answer, needs fewer"}')
    assert metric(brisk, cut("pipelined")) == before + 1


@pytest.mark.parametrize(
    ("behind", "status", "error"),
    [
        (b"\x00nonsense\r\n\r\n", 400, "Invalid HTTP request received."),
        (b"GET /v2 HTTP/1.1\r\n" + b"a: b\r\n" * 13 + b"\r\n", 431, "the request has 13 headers, needs at most 12"),
        (
            f"POST {INFER} HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n".encode(),
            413,
            "the body has 99999999 bytes, needs at most 1048576",
        ),
    ],
    ids=["no HTTP", "headers", "length"],
)
def test_what_cannot_be_read_takes_no_answer_from_what_came_before_it(
    brisk: Live, behind: bytes, status: int, error: str
) -> None:
    first = post(WAIT, "headrace-deadline-ms: 100")
    for asked in (first + behind, first + post(AMOUNT) + behind):
        told = [part.partition(b"\r\n\r\n") for part in said(brisk, asked).split(b"HTTP/1.1 ")[1:]]
        statuses = [int(head[:3]) for head, _, _ in told]
        assert statuses == [504, *[200] * (len(told) - 2), status]
        assert [b"connection: close" in head for head, _, _ in told] == [*[False] * (len(told) - 1), True]
        assert json.loads(told[-1][2]) == {"error": error}


def test_who_asks_for_no_more_is_told_nothing_of_what_follows(brisk: Live) -> None:
    told = said(brisk, post(WAIT, "headrace-deadline-ms: 100", "connection: close") + b"nonsense\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 504 ")
    assert told.count(b"HTTP/1.1 ") == 1


def test_the_end_of_a_body_is_not_counted_as_the_head_behind_it(brisk: Live) -> None:
    large, then = post(AMOUNT + b" " * 100_000), post(AMOUNT, "connection: close")
    assert said(brisk, large + then[:12], then[12:]).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("ended", [b"", b"\r\n\r\n"], ids=["in parts", "whole"])
def test_a_head_behind_a_body_has_its_bound(brisk: Live, ended: bytes) -> None:
    before = metric(brisk, cut("head"))
    told = said(brisk, post(AMOUNT + b" " * 1000) + b"GET /v2 HTTP/1.1\r\nx: " + b"x" * (400 << 10) + ended)
    assert [part[:3] for part in told.split(b"HTTP/1.1 ")[1:]] == [b"200", b"431"]
    assert metric(brisk, cut("head")) == before + 1


def test_a_caller_that_leaves_takes_its_request_with_it(brisk: Live) -> None:
    before = metric(brisk, cut("gone"))
    with connected(brisk) as connection:
        connection.sendall(post(WAIT))
        until(lambda: metric(brisk, "headrace_requests_pending") == 1, "the request under way")
    until(lambda: metric(brisk, cut("gone")) == before + 1, "that it is noticed")


def test_a_body_is_asked_for_where_its_sender_waits_for_that(brisk: Live) -> None:
    request = post(AMOUNT, "Expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    with connected(brisk) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 200


def test_a_body_that_waits_behind_another_request_is_asked_for_in_its_turn(brisk: Live) -> None:
    head, _, body = post(AMOUNT, "Expect: 100-continue", "connection: close").partition(b"\r\n\r\n")
    with connected(brisk) as connection:
        connection.sendall(post(WAIT, "headrace-deadline-ms: 100") + head + b"\r\n\r\n")
        told = b""
        while not told.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            told += (part := connection.recv(1 << 16))
            assert part != b"", told
        assert told.startswith(b"HTTP/1.1 504 ")
        connection.sendall(body)
        assert to_the_end(connection).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"GET /v2 HTTP/1.0\r\n\r\n", False),
        (b"GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n", False),
        (b"GET http://somewhere/v2 HTTP/1.1\r\nhost: somewhere\r\n\r\n", True),
        (b"GET /%76%32 HTTP/1.1\r\nhost: x\r\n\r\n", True),
        (b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", True),
    ],
    ids=["HTTP/1.0", "close", "by a proxy", "encoded", "another protocol offered"],
)
def test_a_connection_is_kept_where_its_caller_wants_it(brisk: Live, sent: bytes, kept: bool) -> None:
    with connected(brisk) as connection:
        connection.sendall(sent)
        status, headers, body = answer(connection)
        assert (status, json.loads(body)["version"]) == (200, "0.1")
        assert (headers.get("connection") != "close") is kept
        assert to_the_end(connection) == b""


def test_a_connection_of_http_1_0_is_said_to_be_kept_where_it_is(brisk: Live) -> None:
    asked = b"GET /v2 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    with connected(brisk) as connection:
        for _ in range(2):
            connection.sendall(asked)
            status, headers, _ = answer(connection)
            assert (status, headers["connection"]) == (200, "keep-alive")


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB", "Upgrade: other")
IN_CHUNKS = "\r\n".join([f"POST {INFER} HTTP/1.1", "host: x", "transfer-encoding: chunked", *OFFER, "", ""]).encode()


@pytest.mark.parametrize(
    "request_",
    [post(AMOUNT, *OFFER), IN_CHUNKS + b"%x\r\n%s\r\n0\r\n\r\n" % (len(AMOUNT), AMOUNT)],
    ids=["with a length", "in chunks"],
)
@pytest.mark.parametrize("piece", [1, 7, 300, 1 << 16])
def test_an_offer_of_another_protocol_is_passed_over_and_the_connection_goes_on(
    brisk: Live, request_: bytes, piece: int
) -> None:
    asked = request_ * 3 + post(AMOUNT, "connection: close")
    with connected(brisk) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(asked), piece):
            connection.sendall(asked[at : at + piece])
        told = to_the_end(connection)
    assert told.count(b"HTTP/1.1 200 OK") == told.count(b'"data":[1.5]') == 4
    assert told.count(b"connection: close") == 1


def test_a_tunnel_is_refused_and_what_follows_it_is_not_read(brisk: Live) -> None:
    told = said(brisk, b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n" + post(AMOUNT))
    assert told.startswith(b"HTTP/1.1 4")
    assert told.count(b"HTTP/1.1 ") == told.count(b"connection: close") == 1


def test_a_head_alone_is_answered_without_a_body(brisk: Live) -> None:
    told = said(brisk, b"HEAD /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = told.partition(b"\r\n\r\n")
    assert (int(head.lower().partition(b"content-length: ")[2].split()[0]) > 20, body) == (True, b"")


BOMB = gzip.compress(b" " * (64 << 20))
DEEP = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def of_shape(shape: str) -> bytes:
    return b'{"inputs": [{"name": "amount", "shape": %s, "datatype": "FP64", "data": [1.5]}]}' % shape.encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(BOMB, "content-encoding: gzip"), 413),
        (post(DEEP), 400),
        (post(of_shape("[4294967296, 4294967296]")), 400),
        (post(of_shape("[9223372036854775807, 3]")), 400),
        (post(of_shape("[" + "1000000," * 40 + "1]")), 400),
        (post(of_shape("[-1]")), 400),
    ],
    ids=["zip bomb", "deep", "product", "product of few", "product of many", "negative"],
)
def test_what_would_be_large_is_refused_while_it_is_small(brisk: Live, request_: bytes, status: int) -> None:
    before = resident_mib(brisk)
    with connected(brisk) as connection:
        for _ in range(5):
            connection.sendall(request_)
            assert answer(connection)[0] == status
    assert resident_mib(brisk) < before + 16


def resident_mib(live: Live) -> float:
    """Return how much memory a server holds."""
    told = Path(f"/proc/{live.process.pid}/status").read_text()
    return int(told.partition("VmRSS:")[2].split()[0]) / 1024


def test_more_connections_than_there_may_be_are_told_so() -> None:
    live = started("--bounds", json.dumps({"connections": 4}))
    kept = [connected(live) for _ in range(4)]
    for connection in kept:
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
    told = said(live)
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in told
    assert told.endswith(b'{"error":"the server has as many connections as it takes, needs fewer: try later"}')
    kept.pop().close()
    until(lambda: metric(live, "headrace_connections") == 4, "room for another")  # that of the question among them
    for connection in kept:
        connection.close()
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0

"""What comes back from a server is read to the byte; where it is no answer, that is said."""

from __future__ import annotations

import pytest

from headrace.conformance.http_wire import NoAnswer, Wire, shown
from tests.conformance.misbehaving import content, saying


def test_an_answer_is_read_whole() -> None:
    with saying(lambda request: content(b"one two", b"418 Teapot", b"X-Much: more")) as url:
        wire = Wire(url)
        said = wire.ask("GET", "/v2")
    assert (said.status, said.body, said.headers["x-much"]) == (418, b"one two", "more")
    assert (wire.exchanges[-1].sent, wire.exchanges[-1].got) == ("GET /v2", "418 one two")


def test_chunks_are_joined_and_interim_answers_passed_over() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\none\r\n4\r\n two\r\n0\r\nTrailer: 1\r\n\r\n"
    )
    with saying(lambda request: b"HTTP/1.1 100 Continue\r\n\r\n" + chunked) as url:
        assert Wire(url).ask("POST", "/v2", b"{}").body == b"one two"


def test_without_a_length_a_body_ends_with_the_connection() -> None:
    with saying(lambda request: b"HTTP/1.0 200 OK\r\n\r\nall of it") as url:
        assert Wire(url).ask("GET", "/v2").body == b"all of it"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-headrace\r\n", "no HTTP/1.1 answer: SSH-2.0-headrace"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "an answer of 5 bytes that was to have 9"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "an answer whose Content-Length is '-1'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a chunked answer with the chunk size 'xyz'"),
        (None, "nothing within 0.2 s"),
    ],
)
def test_what_is_no_answer_is_said(answer: bytes | None, reason: str) -> None:
    with saying(lambda request: answer) as url, pytest.raises(NoAnswer) as none:
        Wire(url, 0.2).ask("GET", "/v2")
    assert str(none.value).startswith(reason)


def test_nobody_there_is_said() -> None:
    with saying(lambda request: b"") as url:
        pass
    with pytest.raises(NoAnswer, match=r"127.0.0.1:\d+ cannot be reached \(Connection refused\)"):
        Wire(url).ask("GET", "/v2")


def test_what_is_no_url_is_said() -> None:
    with pytest.raises(ValueError, match="the server is 'localhost:8080', needs a URL such as"):
        Wire("localhost:8080")


def test_long_bodies_are_shown_short() -> None:
    assert shown(b"a\x00b\n") == "a.b."
    assert shown(b"x" * 1000) == "x" * 160 + "... (1000 bytes)"

"""HTTP under the protocol: codings of bodies, kept-alive and pipelined connections, limits, and what is no HTTP."""

from __future__ import annotations

import gzip
import json
import zlib

from headrace.conformance.answers import answer_of, refused
from headrace.conformance.http_wire import NoAnswer, Said
from headrace.conformance.judging import Check, Finding, Level, NotOffered, checks_of
from headrace.conformance.server import JSON, Server

_check = checks_of("transport")
_BOMB_BYTES = 64 << 20
#: How long a server may wait for a body that is announced too large, or for a head without an end.
_LIMIT_S = 3.0


@_check("HTTP-001 gzip", Level.EXTENSION, "a body may be compressed by gzip, as Triton's clients do on demand")
def _gzip(server: Server) -> None:
    _coded(server, "gzip", gzip.compress(_body(server)))


@_check("HTTP-002 deflate", Level.EXTENSION, "a body may be compressed by deflate, as Triton's clients do on demand")
def _deflate(server: Server) -> None:
    _coded(server, "deflate", zlib.compress(_body(server)))


@_check("HTTP-003 gzip-broken", Level.SHOULD, "a body that is not as its Content-Encoding says is refused")
def _gzip_broken(server: Server) -> None:
    whole = gzip.compress(_body(server))
    for body in (_body(server), whole[: len(whole) // 2], whole[:-8] + b"\0" * 8):
        refused(server.post(body, (*JSON, ("Content-Encoding", "gzip"))))


@_check("HTTP-004 coding-unknown", Level.SHOULD, "a Content-Encoding that nobody knows is refused")
def _coding_unknown(server: Server) -> None:
    refused(server.post(b"\x28\xb5\x2f\xfd" + bytes(40), (*JSON, ("Content-Encoding", "headrace-unknown"))))


@_check("HTTP-005 gzip-bomb", Level.SHOULD, "a small body that inflates without end is refused")
def _bomb(server: Server) -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    body = b"".join(squeezer.compress(block) for _ in range(_BOMB_BYTES >> 20)) + squeezer.flush()
    refused(server.post(body, (*JSON, ("Content-Encoding", "gzip"))))


@_check("HTTP-010 chunked", Level.MUST, "HTTP/1.1: a body may come in chunks without a Content-Length")
def _chunked(server: Server) -> None:
    body = _body(server)
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    server.same(answer_of(server.post(parts + b"0\r\n\r\n", (*JSON, ("Transfer-Encoding", "chunked")))))


@_check("HTTP-011 continue", Level.MUST, "HTTP/1.1: who asks with Expect: 100-continue is answered")
def _continue(server: Server) -> None:
    server.same(answer_of(server.post(_body(server), (*JSON, ("Expect", "100-continue")))))


@_check("HTTP-012 pieces", Level.MUST, "a request that arrives in pieces is read whole")
def _pieces(server: Server) -> None:
    body = _body(server)
    with server.wire.connection() as opened:
        opened.send("POST", f"{server.path}/infer", body[:1], (*JSON, ("Content-Length", str(len(body)))))
        for at in range(1, len(body), max(1, len(body) // 8)):
            opened.send_more(body[at : at + max(1, len(body) // 8)])
        server.same(answer_of(opened.answer()))


@_check("HTTP-013 keep-alive", Level.SHOULD, "a connection is kept for the next request")
def _keep_alive(server: Server) -> None:
    body = _body(server)
    with server.wire.connection() as opened:
        for _ in range(3):
            server.same(answer_of(opened.ask("POST", f"{server.path}/infer", body, JSON)))


@_check("HTTP-014 kept-after-refusal", Level.SHOULD, "after a refusal a connection goes on, or is closed by its word")
def _kept_after_refusal(server: Server) -> None:
    body = _body(server)
    with server.wire.connection() as opened:
        said = opened.ask("POST", f"{server.path}/infer", b"{", JSON)
        if said.headers.get("connection", "").lower() != "close":
            server.same(answer_of(opened.ask("POST", f"{server.path}/infer", body, JSON)))


@_check("HTTP-015 pipelined", Level.SHOULD, "HTTP/1.1: requests sent at once are answered in their order")
def _pipelined(server: Server) -> None:
    ids = ("a", "b", "c")
    bodies = [json.dumps(server.content(id=each)).encode() for each in ids]
    with server.wire.connection() as opened:
        for body in bodies:
            opened.send("POST", f"{server.path}/infer", body, JSON)
        found = [answer_of(opened.answer()).head.get("id") for _ in ids]
    if found != list(ids):
        raise Finding(f"the answers came as {found}, needs {list(ids)}")


@_check("HTTP-016 lengths-conflicting", Level.SHOULD, "HTTP/1.1: two lengths that differ are refused")
def _lengths(server: Server) -> None:
    body = _body(server)
    lengths = (("Content-Length", str(len(body))), ("Content-Length", str(len(body) - 1)))
    _hung_up_or_refused(server, "POST", body, (*JSON, *lengths))


@_check("HTTP-017 request-malformed", Level.SHOULD, "what is no HTTP is refused with 400, or the connection closed")
def _malformed(server: Server) -> None:
    for data in (
        b"headrace",
        b"GET /v2 HTTP/1.1\r\nHost\x00: x",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ):
        with server.wire.connection(_LIMIT_S) as opened:
            opened.send_raw(data + b"\r\n\r\n")
            try:
                status = opened.answer().status
            except NoAnswer as none:
                if "within" in str(none):
                    raise Finding(f"the connection stays open without a word for {_LIMIT_S:g} s") from None
                continue
        if not 400 <= status <= 505 or status == 500:
            raise Finding(f"the status is {status}, needs 400")


@_check("HTTP-018 head-huge", Level.SHOULD, "a head of a megabyte is refused, or the connection closed")
def _head_huge(server: Server) -> None:
    flood = tuple((f"X-Headrace-{at}", "x" * 1000) for at in range(1000))
    _hung_up_or_refused(server, "GET", b"", flood)


@_check("HTTP-019 body-huge", Level.SHOULD, "a body announced as a terabyte is refused before it comes")
def _body_huge(server: Server) -> None:
    with server.wire.connection(_LIMIT_S) as opened:
        opened.send("POST", f"{server.path}/infer", b'{"inputs"', (*JSON, ("Content-Length", str(1 << 40))))
        try:
            said = opened.answer()
        except NoAnswer as none:
            if "within" in str(none):
                raise Finding(f"the server waits for it: no limit was found within {_LIMIT_S:g} s") from None
            return
    if not 400 <= said.status < 500:
        raise Finding(f"the status is {said.status}, needs 413")


@_check("HTTP-020 hung-up", Level.SHOULD, "a caller that hangs up in its request does no harm to the next")
def _hung_up(server: Server) -> None:
    body = _body(server)
    for part in (b"", body[: len(body) // 2], body):
        with server.wire.connection() as opened:
            opened.send("POST", f"{server.path}/infer", part, (*JSON, ("Content-Length", str(len(body)))))
    server.same(answer_of(server.post(body)))


@_check("HTTP-021 trailers-huge", Level.SHOULD, "a megabyte of headers behind a body in chunks is refused or cut off")
def _trailers_huge(server: Server) -> None:
    body = _body(server)
    flood = b"".join(b"X-Headrace-%d: %s\r\n" % (at, b"x" * 1000) for at in range(1000))
    parts = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, flood)
    _hung_up_or_refused(server, "POST", parts, (*JSON, ("Transfer-Encoding", "chunked")))


def _coded(server: Server, coding: str, body: bytes) -> None:
    said = server.post(body, (*JSON, ("Content-Encoding", coding)))
    if 400 <= said.status < 500:
        raise NotOffered(f"the status is {said.status}")
    server.same(answer_of(said))


def _body(server: Server) -> bytes:
    return json.dumps(server.content()).encode()


def _hung_up_or_refused(server: Server, method: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
    path = f"{server.path}/infer" if method == "POST" else "/v2"
    with server.wire.connection() as opened:
        try:
            said: Said = opened.ask(method, path, body, headers)
        except NoAnswer as none:
            if "within" in str(none):
                raise
            return
    if not 400 <= said.status < 500:
        raise Finding(f"the status is {said.status}, needs 4xx")


CHECKS: tuple[Check, ...] = (
    _gzip,
    _deflate,
    _gzip_broken,
    _coding_unknown,
    _bomb,
    _chunked,
    _continue,
    _pieces,
    _keep_alive,
    _kept_after_refusal,
    _pipelined,
    _lengths,
    _malformed,
    _head_huge,
    _body_huge,
    _hung_up,
    _trailers_huge,
)

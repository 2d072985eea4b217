"""Answers as bytes of HTTP/1.1: those of the application, and the refusals that need no application."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from headrace.open_inference import bodies_held
from headrace.open_inference.admission import FULL

Headers = list[tuple[bytes, bytes]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEPT_OLD = b"connection: keep-alive\r\n\r\n"  # its callers take silence for the opposite
_JOINED = 1 << 16  # bytes up to which copying a body behind its head costs less than writing two
_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}


def answer_bytes(
    status: int, headers: Headers, body: bytes, *, kept: bool, old: bool = False, bare: bool = False
) -> list[bytes]:
    """Return what is to be written for an answer, in one part or two.

    A connection that is not kept says so, once; one of HTTP/1.0, an `old` one, says that it is kept.
    A bare answer, to HEAD, has the body's length and no body.
    """
    parts = [_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        if name != b"connection":
            parts += (name, b": ", value, b"\r\n")
    parts.append((_KEPT_OLD if old else b"\r\n") if kept else b"connection: close\r\n\r\n")
    if bare:
        return [b"".join(parts)]
    if len(body) > _JOINED:
        return [b"".join(parts), body]
    parts.append(body)
    return [b"".join(parts)]


def refusal_bytes(status: int, message: str, *, kept: bool = False, retry_after_s: int = 0) -> bytes:
    """Return a refusal in the words of all our refusals."""
    body = orjson.dumps({"error": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after_s:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return answer_bytes(status, headers, body, kept=kept)[0]


#: What is said where there is no room, made once: refusing must cost next to nothing.
OVERLOADED = refusal_bytes(429, FULL, kept=True, retry_after_s=1)
CROWDED = refusal_bytes(429, bodies_held.FULL, kept=True, retry_after_s=1)
TOO_MANY = refusal_bytes(503, "the server has as many connections as it takes, needs fewer: try later", retry_after_s=1)

"""Reading a request's body: bounded in size and time before and after decompression."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from headrace.open_inference.errors import Disconnected, InvalidRequest, TooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]

#: How long a body may take to arrive once its head has.
ARRIVAL_S = 10.0


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Return the whole body, decompressed, or raise TooLarge as soon as it must exceed the limit.

    A server that hands a request on once its body is whole has it at hand: its `receive` has a `body`.
    """
    body = getattr(receive, "body", None)
    if body is None:
        body = await _received(receive, headers, limit)
    elif len(body) > limit:
        raise _too_large(limit)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else decompressed(body, encoding.decode("latin-1").strip().lower(), limit)


async def _received(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"the body has {int(announced)} bytes, needs at most {limit}")
    try:
        async with asyncio.timeout(ARRIVAL_S):
            message = await receive()
    except TimeoutError:
        raise InvalidRequest(f"the body did not begin, needs it within {ARRIVAL_S:g} s") from None
    if message["type"] == "http.disconnect":
        raise Disconnected("the caller hung up before its body was complete")
    body = message["body"]
    if message.get("more_body"):
        body = await _rest(receive, body, limit)
    elif len(body) > limit:
        raise _too_large(limit)
    return body


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its gzip or deflate coding; never holds more than the limit."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise InvalidRequest(f"the body has the content encoding {encoding[:30]!r}, needs gzip, deflate or identity")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | (0 if encoding == "deflate" else 16))
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidRequest(f"the body is not {encoding} as its content encoding says, needs that") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequest(f"the body is not one complete {encoding} stream, needs exactly one")
    return plain


async def _rest(receive: Receive, start: bytes, limit: int) -> bytes:
    parts, size = [start], len(start)
    try:
        async with asyncio.timeout(ARRIVAL_S):
            more = True
            while more:
                if size > limit:
                    raise _too_large(limit)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected("the caller hung up before its body was complete")
                parts.append(message["body"])
                size += len(message["body"])
                more = message.get("more_body", False)
    except TimeoutError:
        raise InvalidRequest(f"the body stopped after {size} bytes, needs the rest within {ARRIVAL_S:g} s") from None
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body has more than {limit} bytes, needs at most {limit}")

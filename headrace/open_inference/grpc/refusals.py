"""How a call over gRPC is refused: its status, its message as long as callers read it, and when to try again."""

from __future__ import annotations

from typing import Any

import grpc

#: Bytes of a refusal's message. It travels in the trailers, of which callers read 8 KiB, as up to three bytes for one;
#: with more they would see RESOURCE_EXHAUSTED in place of its status.
_MOST_DETAILS = 2000


def refusal(context: Any, code: grpc.StatusCode, message: str, retry_after_s: float | None) -> bytes:
    """Refuse a call; return its answer, which is empty."""
    # Not by `abort`: what it raises keeps itself, and with it the request, until garbage is collected.
    context.set_code(code)
    context.set_details(_details(message))
    context.set_trailing_metadata(_pushback(retry_after_s))
    return b""


def _details(message: str) -> str:
    text = message.encode("utf-8", "replace")
    if len(text) <= _MOST_DETAILS:
        return message
    return f"{text[:_MOST_DETAILS].decode('utf-8', 'ignore')}... ({len(message)} characters in all)"


def _pushback(retry_after_s: float | None) -> tuple[tuple[str, str], ...]:
    # What Retry-After is over HTTP: a client that tries again by itself waits as long.
    return () if retry_after_s is None else (("grpc-retry-pushback-ms", str(round(retry_after_s * 1000))),)

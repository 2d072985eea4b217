"""Inferences over gRPC, watched: the same as `open_inference.calls` for HTTP, with metadata in the place of headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from headrace.open_inference.calls import CALL, Call, Watch, replaced

Method = Callable[[bytes, Any], Awaitable[bytes]]
#: The HTTP status that says what a gRPC status, by its number, says.
_STATUS = {
    code.value[0]: status
    for code, status in {
        grpc.StatusCode.OK: 200,
        grpc.StatusCode.CANCELLED: 499,
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }.items()
}


def watched(method: Method, watch: Watch) -> Method:
    """Return a method that tells `watch` of its calls."""

    async def told(raw: bytes, context: Any) -> bytes:
        received = [(name.encode(), _bytes(value)) for name, value in context.invocation_metadata() or ()]
        call = watch(received)
        CALL.set(call)
        await context.send_initial_metadata(tuple((name.decode(), value.decode()) for name, value in call.answer))
        seen = WatchedContext(context, call, received)
        ended = 499
        try:
            answer = await method(raw, seen)
            ended = seen.refused_with or _status(context.code())
            return answer
        except (grpc.RpcError, grpc.aio.AbortError):
            ended = _status(context.code())
            raise
        finally:
            call.ended(ended)

    return told


class WatchedContext:
    """A call's context whose metadata is what the watcher makes of it.

    `refused_with` is the HTTP status of its refusal, which says more than gRPC's; 0 where there is none.
    """

    def __init__(self, context: Any, call: Call, received: list[tuple[bytes, bytes]]) -> None:
        self.refused_with = 0
        self._context, self._call, self._received = context, call, received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the caller's metadata, or what stands in its place."""
        found = replaced(self._received, self._call.instead)
        return tuple((name.decode(), value if name.endswith(b"-bin") else value.decode()) for name, value in found)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _status(code: Any) -> int:
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0  # a call tells it as a number, too
    return _STATUS.get(number, 500)

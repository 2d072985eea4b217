"""Calls: who is told when an inference begins and ends, over HTTP or gRPC. Without one nothing of this is run.

What watches may put headers in the place of the caller's, such as an id or the next span's, and add some to the
answer. The call is in CALL while its request is answered, for those further in who know more of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

#: Names in lower case, as they were received or are to be sent.
Headers = Sequence[tuple[bytes, bytes]]


class Call(Protocol):
    """One inference under way."""

    id: str
    #: Headers that are read in place of the caller's own of the same names.
    instead: dict[bytes, bytes]
    #: Headers that the answer gets besides its own.
    answer: Headers

    def ended(self, status: int) -> None:
        """Hear how it ended: the HTTP status, or the one that a gRPC status would be; 499 where nobody waited."""


Watch = Callable[[Headers], Call]
CALL: ContextVar[Call | None] = ContextVar("call", default=None)


class WatchedApp:
    """An App whose inferences are watched; everything else of it is the App's own."""

    def __init__(self, app: Any, watch: Watch) -> None:
        self._app, self.watch = app, watch

    def __getattr__(self, name: str) -> Any:
        """Return what the App has."""
        return getattr(self._app, name)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        call = self.watch(scope["headers"])
        CALL.set(call)
        ended = 499

        async def answered(message: dict[str, Any]) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                ended = message["status"]
                message = {**message, "headers": [*message["headers"], *call.answer]}
            await send(message)

        try:
            await self._app({**scope, "headers": replaced(scope["headers"], call.instead)}, receive, answered)
        finally:
            call.ended(ended)


def replaced(headers: Headers, instead: dict[bytes, bytes]) -> Headers:
    """Return headers with others in place of those of the same names.

    >>> replaced([(b"a", b"1"), (b"b", b"2")], {b"a": b"3"})
    [(b'b', b'2'), (b'a', b'3')]
    """
    return [*(header for header in headers if header[0] not in instead), *instead.items()] if instead else headers

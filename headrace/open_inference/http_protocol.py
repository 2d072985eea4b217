"""HTTP connections with bounds: how long a request's head may take to arrive, and how large it may be.

uvicorn bounds neither. A caller that sends one header a minute, or headers without end, would hold
a connection and its memory for as long as it likes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: How long a new connection may stay silent, and a head may stay incomplete.
HEAD_S = 10.0
HEAD_BYTES = 64 << 10


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, closing connections whose request heads are too slow or too long."""

    _head_open = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Await the first request."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(HEAD_S, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._set_timer(False)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head that has begun is too long."""
        super().data_received(data)
        if not self._head_open:
            if self._head_timer is not None:
                self._set_timer(False)
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response(f"the head of the request has more than {HEAD_BYTES} bytes, needs fewer")
        self._set_timer(not self.transport.is_closing())

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._head_open = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head."""
        self._head_open = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the words of all our refusals, and hang up."""
        body = orjson.dumps({"error": msg})
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
        head += b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)
        self.transport.close()

    def _set_timer(self, on: bool) -> None:
        if on and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self.timeout_keep_alive_handler)
        elif not on and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

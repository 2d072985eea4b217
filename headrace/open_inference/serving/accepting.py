"""Taking in the connections that wait at a listener, all of them.

The event loop's own server takes in one connection each time it comes round. Under load it comes round seldom: a
thousand callers who came at once were taken in over five seconds, and those at the end waited longer
than anybody would. Here all that wait are taken in, up to a number, and told at once if there is no room. Under TLS
connections count from before their handshake, and beyond the bound they are hung up on: a 503 would need one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from headrace.open_inference.rest.connections import Connections
from headrace.open_inference.rest.http_protocol import Connection
from headrace.open_inference.tls import Certificate

_AT_ONCE, _AT_ONCE_WHEN_FULL = 256, 16  # taking one in costs several refusals
_PAUSE_S = 0.1  # where there are no descriptors left
_HANDSHAKE_S = 10.0


class Secured(Connection):
    """A connection that is silent until its handshake has ended, and is given its time from then on."""

    def connection_made(self, transport: Any) -> None:
        """Begin now."""
        self._since = self._loop.time()
        super().connection_made(transport)


class Accepting:
    """A listener whose connections are taken in from `begin` to `end`; `opening` are those whose handshake goes on."""

    def __init__(self, listener: socket.socket, connections: Connections, certificate: Certificate | None) -> None:
        self._listener, self._connections = listener, connections
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()
        self.opening: set[asyncio.Task[Any]] = set()
        self._open = False
        listener.setblocking(False)

    def begin(self) -> None:
        """Take in what comes."""
        self._open = True
        self._loop.add_reader(self._listener.fileno(), self._take)

    def end(self) -> None:
        """Take in what waits, and nothing more."""
        self._take()
        self._open = False
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _take(self) -> None:
        admission = self._connections.admission
        for _ in range(_AT_ONCE if admission.pending < admission.limit else _AT_ONCE_WHEN_FULL):
            try:
                found, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._connections.count("descriptors")
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_PAUSE_S, self._again)
                return
            if self._certificate is not None and self._full():
                self._connections.count("connections")
                found.close()
                continue
            found.setblocking(False)
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._made, found, **self._secured()))
            self.opening.add(task)
            task.add_done_callback(self._opened)

    def _full(self) -> bool:
        return len(self.opening) + len(self._connections.open) >= self._connections.bounds.connections

    def _again(self) -> None:
        if self._open:
            self.begin()

    def _secured(self) -> dict[str, Any]:
        if self._certificate is None:
            return {}
        return {"ssl": self._certificate.context, "ssl_handshake_timeout": _HANDSHAKE_S}

    def _made(self) -> Connection:
        return (Connection if self._certificate is None else Secured)(self._connections, self._loop)

    def _opened(self, task: asyncio.Task[Any]) -> None:
        self.opening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._connections.count("handshake")  # whose reason is the caller's to know

"""One HTTP request and its answer, as the application is given them."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from headrace.open_inference.rest.answers import Answer
from headrace.open_inference.rest.http_answers import Headers, answer_bytes

if TYPE_CHECKING:
    from headrace.open_inference.rest.connections import Connections
    from headrace.open_inference.rest.http_protocol import Connection

DEADLINE = b"headrace-deadline-ms"
_UNREAD_S = 0.002
#: Of what Linux tells of a connection, how many milliseconds ago its last data came.
_TCP_INFO = struct.Struct("<52xI")
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Exchange:
    """A request being read, waiting or being answered; it is its own ASGI `receive`, and has its body whole."""

    __slots__ = (
        "allowed_s",
        "asks",
        "began",
        "body",
        "counted",
        "given_s",
        "held",
        "kept",
        "parts",
        "place",
        "scope",
        "shed",
        "size",
        "status",
        "wrote",
    )

    def __init__(self, method: str, url: bytes, headers: Headers, version: str, *, kept: bool) -> None:
        path, _, query = url.partition(b"?")
        if not path.startswith(b"/"):  # a proxy's form: http://host/path
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        text = path.decode("latin-1")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "scheme": "http",
            "headers": headers,
        }
        self.kept = kept
        self.counted = method == "POST"
        self.parts: list[bytes] = []
        self.size, self.held, self.began, self.status, self.place = 0, 0, 0.0, 0, 0
        self.allowed_s = self.given_s = 1.0  # what is left of what its sender gave it when it is read, and all of that
        self.body, self.shed, self.wrote = b"", False, False
        self.asks = False  # whether its sender waits to be told that its body is wanted

    async def __call__(self) -> dict[str, Any]:
        """Return the whole body."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def run(self, connection: Connection) -> None:
        """Ask the application, and write what it says to the connection."""
        headers: Headers = []

        async def send(message: dict[str, Any]) -> None:
            nonlocal headers
            if message["type"] == "http.response.start":
                self.status, headers = message["status"], message["headers"]
                return
            self.parts.append(message.get("body", b""))
            if not message.get("more_body"):
                self._write(connection, headers)

        everyone = connection.everyone
        try:
            await everyone.special.get(self.scope["path"], everyone.app)(self.scope, self, send)
        finally:
            self.left(everyone)
            connection.answered(self)

    def answer(self, connection: Connection, answer: Answer) -> None:
        """Write an answer that needs no application any more."""
        self.status, headers, body = answer
        self.parts = [body]
        self._write(connection, headers)
        self.left(connection.everyone)
        connection.answered(self)

    def waited(self, seconds: float) -> bool:
        """Take what it waited unread from the time it has, and tell whether nothing is left; the application knows."""
        if seconds < _UNREAD_S:
            return False
        if seconds >= self.allowed_s:
            return True
        self.allowed_s -= seconds
        headers = self.scope["headers"]
        headers[:] = [each for each in headers if each[0] != DEADLINE]
        headers.append((DEADLINE, b"%.3f" % (self.allowed_s * 1000)))
        return False

    def entered(self, everyone: Connections) -> None:
        """Take up room, if it is a request of the kind that does."""
        if self.counted:
            self.place = everyone.admission.enter()

    def left(self, everyone: Connections) -> None:
        """Make room; a second time nothing happens."""
        self._let_go(everyone)
        if self.counted:
            self.counted = False
            everyone.admission.leave(self.place, time.monotonic() - self.began, self.allowed_s, self.given_s)

    def drop(self, everyone: Connections) -> None:
        """Let go of its body, of which nothing more is kept."""
        self.shed = True
        self.parts = []
        self._let_go(everyone)

    def _let_go(self, everyone: Connections) -> None:
        everyone.app.gate.held.free(self.held)
        self.held = 0

    def _write(self, connection: Connection, headers: Headers) -> None:
        self.kept = self.kept and not (connection.everyone.app.gate.draining and connection.is_last)
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        bare, old = self.scope["method"] == "HEAD", self.scope["http_version"] == "1.0"
        for part in answer_bytes(self.status, headers, body, kept=self.kept, old=old, bare=bare):
            connection.write(part)
        self.wrote = True


def unread_s(transport: Any) -> float:
    """Return for how long the newest bytes of a connection have been here without being read."""
    told = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return _TCP_INFO.unpack(told)[0] / 1000

"""HTTP/1.1 over a socket, with TLS or without, that can be told to misbehave.

One server answers with one function from a request to a response. It knows nothing of Hopsworks.
Connections are kept alive; a fault is looked up per request, so it can be switched while clients are connected.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, unquote

import httptools
import orjson

from tests.hopsworks.faults import Fault


@dataclass(slots=True)
class Request:
    """One request: a decoded path, the query's lists of values, headers in lower case, the whole body."""

    method: str = ""
    path: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """One answer."""

    status: int = 200
    body: bytes = b""
    kind: bytes = b"application/json"


Answer = Response | Awaitable[Response]


class Server:
    """A listening socket of the loopback, its connections and its fault."""

    def __init__(
        self, answer: Callable[[Request], Answer], host: str, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self.answer = answer
        self.fault = Fault()
        self.connections: set[_Connection] = set()
        self.host = host
        self.port = port
        self.seen = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._deaf: socket.socket | None = None

    async def listen(self) -> None:
        """Open the socket, on the port it had before where it had one."""
        loop = asyncio.get_running_loop()
        bound = _bound(self.host, self.port, 1024)
        self.port = bound.getsockname()[1]
        self._server = await loop.create_server(lambda: _Connection(self), sock=bound, ssl=self._tls)

    async def misbehave(self, fault: Fault) -> None:
        """Take a fault; the socket is opened, closed or left unaccepted as it says."""
        was, self.fault = self.fault.listening, fault
        self.seen = 0
        if fault.listening == was:
            return
        self.close()
        if fault.listening == "open":
            await self.listen()
        elif fault.listening == "hang":
            self._deaf = _bound(self.host, self.port, 128)
        else:
            for connection in tuple(self.connections):
                connection.cut()

    def close(self) -> None:
        """Close the listening socket; open connections live on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._deaf is not None:
            self._deaf.close()
            self._deaf = None

    def fault_of(self, path: str) -> Fault | None:
        """Return the fault this request meets, if any."""
        if self.fault.is_idle or self.fault.path not in path:
            return None
        self.seen += 1
        return self.fault if self.seen % self.fault.every == 0 else None


class _Connection(asyncio.Protocol):
    __slots__ = ("_body", "_headers", "_parser", "_server", "_transport", "_url")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.partition(b"?")
        request = Request(
            self._parser.get_method().decode(),
            unquote(path.decode()),
            parse_qs(query.decode(), keep_blank_values=True) if query else {},
            self._headers,
            b"".join(self._body),
        )
        self._url, self._headers, self._body = b"", {}, []
        fault = self._server.fault_of(request.path)
        if fault is None:
            self._begin(request, None)
        elif fault.delay_ms:
            asyncio.get_running_loop().call_later(fault.delay_ms / 1e3, self._begin, request, fault)
        else:
            self._begin(request, fault)

    def _begin(self, request: Request, fault: Fault | None) -> None:
        if fault is not None and fault.drop == "connection":
            self.cut()
            return
        answer = self._server.answer(request) if fault is None or not fault.status else _failing(fault.status)
        if isinstance(answer, Response):
            self._finish(answer, fault)
        else:
            task = asyncio.ensure_future(answer)
            task.add_done_callback(lambda done: self._finish(done.result(), fault))

    def _finish(self, response: Response, fault: Fault | None) -> None:
        if self._transport is None:
            return
        if fault is not None and fault.shape:
            response = misshapen(response, fault.shape)
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (
            response.status,
            HTTPStatus(response.status).phrase.encode(),
            response.kind,
            len(response.body),
        )
        if fault is not None and (fault.truncate or fault.drop):
            self._transport.write(head + (response.body[: len(response.body) // 2] if fault.truncate else b""))
            self._transport.close()
        else:
            self._transport.write(head + response.body)


def misshapen(response: Response, shape: str) -> Response:
    """Return the answer in a wrong shape: the last row of a vector answer is missing or null, or it is no JSON."""
    if shape == "text":
        return Response(response.status, b"<html>not JSON</html>", b"text/html")
    told = orjson.loads(response.body or b"{}")
    rows = told.get("features") if isinstance(told, dict) else None
    if isinstance(rows, list) and rows:
        told["features"] = rows[:-1] if shape == "short" else [*rows[:-1], None]
    return Response(response.status, orjson.dumps(told), response.kind)


def _failing(status: int) -> Response:
    body = {"errorCode": 120000, "errorMsg": HTTPStatus(status).phrase, "usrMsg": "told to fail"}
    return Response(status, orjson.dumps(body))


def _bound(host: str, port: int, backlog: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(backlog)
    return listener

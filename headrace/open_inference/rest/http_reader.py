"""Bytes of one HTTP/1.1 connection into requests, within bounds: what exceeds them is refused before it is kept."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import httptools

from headrace.open_inference.rest.connections import Connections
from headrace.open_inference.rest.http_answers import Headers
from headrace.open_inference.rest.http_exchange import DEADLINE, Exchange


class Unreadable(Exception):
    """What came is not read on: the status and the message it is refused with, and the reason it is counted under."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Reader(ABC):
    """The reading half of a connection. Its `on_*` methods are the parser's; they do not outlive `feed`."""

    def __init__(self, everyone: Connections) -> None:
        self.everyone = everyone
        self._parser = httptools.HttpRequestParser(self)
        self._in_head, self._stalled, self._offered, self._head_bytes = False, False, False, 0
        self._incoming: Exchange | None = None

    @abstractmethod
    def begun(self) -> None:
        """A request has begun."""

    @abstractmethod
    def decide(self, exchange: Exchange, *, asks: bool) -> None:
        """A head is whole; `asks` is whether its sender waits to be told that its body is wanted."""

    @abstractmethod
    def take(self, exchange: Exchange) -> None:
        """A request is whole."""

    def feed(self, data: bytes) -> bool:
        """Read on; tell whether more can follow. Raises Unreadable."""
        before, read = self._incoming, self._incoming.size if self._incoming is not None else 0
        self._head_bytes = self._head_bytes + len(data) if self._in_head or self._stalled else len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._offered:
                return self._declined(data[upgrade.args[0] :])
            return False  # CONNECT is answered as it is; what follows it would be another protocol
        except httptools.HttpParserCallbackError as stopped:
            if isinstance(stopped.__context__, Unreadable):
                raise stopped.__context__ from None
            raise
        except httptools.HttpParserError:
            raise Unreadable(400, "malformed", "Invalid HTTP request received.") from None
        # What adds nothing to a body that is under way are the ends of chunks and what follows the last of them.
        self._stalled = before is not None and before is self._incoming and before.size == read
        if (self._in_head or self._stalled) and self._head_bytes > self.everyone.bounds.head_bytes:
            raise self._long_head()
        return True

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._url = b""
        self._headers: Headers = []
        self.begun()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after a body are nobody's."""
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand on a head that is within its bounds, and whose body can be."""
        self._in_head = False
        bounds, headers, parser = self.everyone.bounds, self._headers, self._parser
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        self._offered = parser.should_upgrade() and method != "CONNECT"
        if self._offered:
            return  # the parser reads no body of it: see _declined
        if len(headers) > bounds.headers:
            raise Unreadable(431, "head", f"the request has {len(headers)} headers, needs at most {bounds.headers}")
        if self._head_bytes > bounds.head_bytes and _size(self._url, headers) > bounds.head_bytes:
            raise self._long_head()
        named = dict(headers)
        self._bound_body(int(named.get(b"content-length", b"0")))
        kept = parser.should_keep_alive() and not parser.should_upgrade()
        exchange = Exchange(method, self._url, headers, version, kept=kept)
        self._incoming = exchange
        if exchange.counted:
            exchange.allowed_s = self._allowed_s(named)
        self.decide(exchange, asks=b"expect" in named and named[b"expect"].lower() == b"100-continue")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request is refused already."""
        exchange = self._incoming
        assert exchange is not None
        exchange.size += len(body)
        self._bound_body(exchange.size, more=True)
        if not exchange.shed:
            exchange.parts.append(body)

    def on_message_complete(self) -> None:
        """Hand on a request."""
        if self._offered:
            return
        exchange, self._incoming = self._incoming, None
        assert exchange is not None
        parts = exchange.parts
        exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.take(exchange)

    def _declined(self, rest: bytes) -> bool:
        """Read a request that offers another protocol as one that does not: every server may, and callers know."""
        version = self._parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, version)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser, self._offered = httptools.HttpRequestParser(self), False
        return self.feed(b"\r\n".join((*lines, b"", rest)))

    def _allowed_s(self, named: dict[bytes, bytes]) -> float:
        said = named.get(DEADLINE)
        try:
            allowed = float(said) / 1000 if said else 0.0
        except ValueError:
            allowed = 0.0  # the application says what is wrong with it
        return allowed if 0 < allowed < math.inf else self.everyone.app.gate.default_deadline_s

    def _bound_body(self, size: int, *, more: bool = False) -> None:
        most = self.everyone.app.max_body_bytes
        if size > most:
            found = f"more than {most}" if more else size
            raise Unreadable(413, "body", f"the body has {found} bytes, needs at most {most}")

    def _long_head(self) -> Unreadable:
        most = self.everyone.bounds.head_bytes
        return Unreadable(431, "head", f"the head of the request has more than {most} bytes, needs fewer")


def _size(url: bytes, headers: Headers) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)

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
        self._in_head, self._stalled = False, False
        self._head_bytes = self._ahead = 0  # since the head may have begun; of these, what ended before it
        self._incoming: Exchange | None = None

    @abstractmethod
    def begun(self) -> None:
        """A request has begun."""

    @abstractmethod
    def decide(self, exchange: Exchange) -> None:
        """A head is whole."""

    @abstractmethod
    def take(self, exchange: Exchange) -> None:
        """A request is whole."""

    @abstractmethod
    def crowd_out(self, exchange: Exchange) -> None:
        """So much of bodies is held that this one is not read on."""

    def feed(self, data: bytes) -> bool:
        """Read on; tell whether more can follow. Raises Unreadable."""
        before, read = self._incoming, self._incoming.size if self._incoming is not None else 0
        if self._in_head or self._stalled:
            self._head_bytes += len(data)
        else:
            self._head_bytes, self._ahead = len(data), 0
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                if not self._declined(memoryview(data), offered):
                    return False  # CONNECT is answered as it is; what follows it would be another protocol
        except httptools.HttpParserCallbackError as stopped:
            if isinstance(stopped.__context__, Unreadable):
                raise stopped.__context__ from None
            raise
        except httptools.HttpParserError:
            raise Unreadable(400, "malformed", "Invalid HTTP request received.") from None
        # What adds nothing to a body that is under way are the ends of chunks and what follows the last of them.
        self._stalled = before is not None and before is self._incoming and before.size == read
        if (self._in_head or self._stalled) and self._head_bytes - self._ahead > self.everyone.bounds.head_bytes:
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

    def forget(self) -> None:
        """Let go of what was read; nothing more is. A second time nothing happens.

        Parser and reader know each other: a body between them would wait for the collector of garbage, which counts
        objects, not their bytes.
        """
        if self._incoming is not None:
            self._incoming.drop(self.everyone)
        self._incoming, self._in_head = None, False
        self.__dict__.pop("_parser", None)

    def on_headers_complete(self) -> None:
        """Hand on a head that is within its bounds, and whose body can be."""
        bounds, headers, parser = self.everyone.bounds, self._headers, self._parser
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade() and method != "CONNECT":
            return  # for the parser this is the request's end, for `_declined` it is not
        self._in_head = False
        if len(headers) > bounds.headers:
            raise Unreadable(431, "head", f"the request has {len(headers)} headers, needs at most {bounds.headers}")
        if self._head_bytes > bounds.head_bytes and _size(self._url, headers) > bounds.head_bytes:
            raise self._long_head()
        named = dict(headers)
        self._bound_body(int(named.get(b"content-length", b"0")))
        kept = parser.should_keep_alive() and not parser.should_upgrade()
        exchange = Exchange(method, self._url, headers, parser.get_http_version(), kept=kept)
        self._incoming = exchange
        if exchange.counted:
            exchange.allowed_s = exchange.given_s = self._allowed_s(named)
        exchange.asks = b"expect" in named and named[b"expect"].lower() == b"100-continue"
        self.decide(exchange)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request is refused already."""
        exchange = self._incoming
        assert exchange is not None
        exchange.size += len(body)
        self._bound_body(exchange.size, more=True)
        if not exchange.shed:
            exchange.parts.append(body)
            exchange.held += len(body)
            held = self.everyone.app.gate.held
            held.take(len(body))
            if held.full(exchange.size):
                self.crowd_out(exchange)

    def on_message_complete(self) -> None:
        """Hand on a request."""
        if self._in_head:
            return
        self._ahead = self._head_bytes  # the parser does not tell where it stands: what has come is no later head's
        exchange, self._incoming = self._incoming, None
        assert exchange is not None
        parts = exchange.parts
        exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
        exchange.parts = []  # else a large body would be there twice
        self.take(exchange)

    def _declined(self, rest: memoryview, offered: httptools.HttpParserUpgrade) -> bool:
        """Read requests that offer another protocol as if they did not (RFC 9110 7.8); False for one that asks for it.

        The parser has read the head of such a request and no more, so another reads it again without the offer.
        """
        while self._in_head:
            rest = rest[offered.args[0] :]
            asked = (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
            lines = [b"%s: %s\r\n" % each for each in self._headers if each[0] != b"upgrade"]
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"%s %s HTTP/%s\r\n%s\r\n" % (*asked, b"".join(lines)))
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as another:
                offered = another
            else:
                return True
        return False

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

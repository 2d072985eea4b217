"""One kept-alive HTTP/1.1 connection on which one request at a time is asked.

It is strict about where an answer ends: one that does not say its length, that is followed by more
bytes, or that comes before its request was sent is either an error or the connection's last.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httptools

#: What is read of an answer at most, in bytes, unless told otherwise; and of everything before its body.
LONGEST_ANSWER = 64 << 20
LONGEST_HEAD = 64 << 10


class Unanswered(ConnectionError):
    """The connection ended before an answer began."""


class BrokenOff(ConnectionError):
    """The connection ended before the answer was whole."""


class TooLong(BrokenOff):
    """The answer grew longer than what is read of one."""


class NotHTTP(ConnectionError):
    """What came is not an answer in HTTP."""


class Answer(NamedTuple):
    """A whole answer: its status, its headers as they came, and its body without chunks."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return a header's value; the name is in small letters.

        >>> Answer(200, [(b"Retry-After", b"1")], b"").header(b"retry-after")
        b'1'
        """
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class Connection(asyncio.Protocol):
    """Asks and is answered; `open` as long as it may be asked again."""

    def __init__(self, longest: int = LONGEST_ANSWER) -> None:
        self.open = True
        self.loop = asyncio.get_running_loop()
        self.since = self.idle_since = self.loop.time()
        self._longest = longest
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = self._received = 0
        self._in_body = False

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Return the answer to come; raises Unanswered, BrokenOff, TooLong or NotHTTP when it is awaited."""
        answer = self.loop.create_future()
        if not self.open or self._transport is None or self._transport.is_closing():
            answer.set_exception(Unanswered())
            return answer
        self._answer, self._headers, self._parts = answer, [], []
        self._size = self._received = 0
        self._in_body = False
        self._transport.write(request)
        return answer

    def close(self) -> None:
        """End the connection at once; with its loop it has ended already."""
        self.open = False
        if self._transport is not None and not self.loop.is_closed():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._end(BrokenOff() if self._received else Unanswered())
        self._headers, self._parts = [], []
        self._parser = None  # it knows this: half an answer would stay until the collector of garbage comes by

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._answer is None:  # nothing was asked: whose answer this is cannot be known
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(NotHTTP())
            return
        # Chunks may be small and trailers long: what surrounds a body is bounded too.
        if self._received > (2 * self._longest + LONGEST_HEAD if self._in_body else LONGEST_HEAD):
            self._end(TooLong())

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._answer is None:  # bytes behind a whole answer: what comes next here is anyone's
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if not self._in_body:  # trailers are nobody's
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._parts.append(body)
        self._size += len(body)
        if self._size > self._longest:
            self._end(TooLong())

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status < 200:  # the answer itself is still to come
            self._headers, self._in_body = [], False
            return
        assert self._transport is not None
        if not self._parser.should_keep_alive() or self._transport.get_write_buffer_size():
            self.open = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            answer.set_result(Answer(status, self._headers, body))

    def _end(self, error: ConnectionError) -> None:
        self.close()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)

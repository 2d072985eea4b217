"""One kept-alive HTTP/1.1 connection on which one request at a time is asked."""

from __future__ import annotations

import asyncio

import httptools

#: What is read of an answer at most; 500 of the longest rows are a fifth of it.
LONGEST_ANSWER = 64 << 20


class Unanswered(ConnectionError):
    """The connection ended before an answer began."""


class BrokenOff(ConnectionError):
    """The connection ended, or the answer grew too long, before it was whole."""


class NotHTTP(ConnectionError):
    """What came is not an answer in HTTP."""


class Connection(asyncio.Protocol):
    """Asks and is answered; `open` as long as it may be asked again."""

    def __init__(self) -> None:
        self.open = True
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: httptools.HttpResponseParser = None  # type: ignore[assignment]
        self._parts: list[bytes] = []
        self._size = 0
        self._begun = False

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Return the status and body to come; raises Unanswered, BrokenOff or NotHTTP when it is awaited."""
        answer = self.loop.create_future()
        if not self.open or self._transport is None or self._transport.is_closing():
            answer.set_exception(Unanswered())
            return answer
        self._parser = httptools.HttpResponseParser(self)
        self._answer, self._parts, self._size, self._begun = answer, [], 0, False
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
        self.open = False
        self._fail(BrokenOff() if self._begun else Unanswered())

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._answer is None:  # nothing was asked: whose answer this is cannot be known
            self.close()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(NotHTTP())
            self.close()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._parts.append(body)
        self._size += len(body)
        if self._size > LONGEST_ANSWER:
            self._fail(BrokenOff())
            self.close()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status < 200:  # the answer itself is still to come
            return
        self.open = self.open and self._parser.should_keep_alive()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((status, self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)))

    def _fail(self, error: ConnectionError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)

"""Kept-alive connections to one address: each asks one request at a time, and is kept only after a whole answer."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field

from headrace.http.connection import LONGEST_ANSWER, Answer, Connection


@dataclass(slots=True)
class Pool:
    """Connections to a host and port, as many as are asked at the same time.

    `tls` is how a certificate is checked, None for plain HTTP; it must be for `name` where that is given, else for
    the host. A connection is not taken up again when it was idle for `idle_s` or is older than `age_s`,
    in seconds of the loop's clock; an answer is read up to `longest` bytes.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str | None = None
    idle_s: float = float("inf")
    age_s: float = float("inf")
    longest: int = LONGEST_ANSWER
    keeps: bool = True
    _idle: list[Connection] = field(default_factory=list)
    _busy: set[Connection] = field(default_factory=set)

    async def ask(self, request: bytes, connect_s: float | None = None) -> Answer:
        """Return the answer to a whole request; asked once, on a connection kept or opened for it.

        Raises the errors of Connection.ask, and where one must be opened OSError, of which ssl.SSLError is a kind;
        TimeoutError where that takes longer than `connect_s`. A connection whose answer was not waited for is closed.
        """
        connection = self._kept() or await self._opened(connect_s)
        self._busy.add(connection)
        answered = False
        try:
            answer = await connection.ask(request)
            answered = True
            return answer
        finally:
            self._busy.discard(connection)
            if answered and connection.open and self.keeps:
                connection.idle_since = connection.loop.time()
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the connections, also under requests in flight; the pool can be used again and opens new ones."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    def retire(self) -> None:
        """Keep no connection from now on; requests in flight are answered."""
        self.keeps = False
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _kept(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.loop is not loop or not connection.open:
                continue
            now = loop.time()
            if now - connection.idle_since < self.idle_s and now - connection.since < self.age_s:
                return connection
            connection.close()
        return None

    async def _opened(self, connect_s: float | None) -> Connection:
        loop = asyncio.get_running_loop()
        named = self.name if self.tls is not None else None
        async with asyncio.timeout(connect_s):
            _, connection = await loop.create_connection(
                lambda: Connection(self.longest), self.host, self.port, ssl=self.tls, server_hostname=named
            )
        return connection

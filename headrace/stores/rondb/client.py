"""A client of RonDB's REST server: kept-alive connections, TLS with the cluster's authorities, a deadline per call.

It is our own down to HTTP because at one key a general client costs more than all else together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from headrace.http.connection import Answer, BrokenOff, NotHTTP, Unanswered
from headrace.http.pool import Pool
from headrace.stores.online import ReadDeadlinePassed, StoreUnavailable
from headrace.stores.rondb.errors import AccessRefused, BrokenAnswer, RonDBAway, ViewAbsent

VERSION = "0.1.0"
PORT = 4406
#: How long a connection is kept that nobody uses, which balancers drop without a word, and at all: a name may move.
_KEEP_ALIVE_S, _OLD_S = 30.0, 120.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens; `tls` is how its certificate is checked, None for plain HTTP."""

    host: str
    port: int = PORT
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"RonDB at {self.host}:{self.port}"


class RonDBClient:
    """Asks one server. `key` gives the API key, and is asked again where the server refuses the one it gave last.

    At most `connections` are open; `timeout_s` limits a call that has no deadline. Failures are the
    errors of this package. A call whose connection had been closed meanwhile is made once more.
    """

    def __init__(
        self, address: Address, key: Callable[[], str], *, connections: int = 16, timeout_s: float = 2.0
    ) -> None:
        self.address = address
        self._key, self._known = key, ""
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(connections)
        self._pool = Pool(address.host, address.port, address.tls, idle_s=_KEEP_ALIVE_S, age_s=_OLD_S)

    async def post(self, path: str, body: bytes, deadline: float | None = None) -> bytes:
        """Return the body of an answer that says 200; `deadline` is an instant of the running loop's clock."""
        now = asyncio.get_running_loop().time()
        end = now + self._timeout_s if deadline is None else deadline
        if end <= now:
            raise self._late()
        try:
            async with asyncio.timeout_at(end):
                return await self._sent(path, body)
        except TimeoutError:
            raise self._late() from None

    def close(self) -> None:
        """Close the connections, also under calls in flight; the client can be used again and opens new ones."""
        self._pool.close()

    async def _sent(self, path: str, body: bytes) -> bytes:
        used = self._known or self._asked()
        answer = await self._answered(self._request(path, body, used))
        if answer.status in (401, 403) and self._asked() != used:
            answer = await self._answered(self._request(path, body, self._known))
        if answer.status != 200:
            raise refusal_of(answer.status, self.address)
        return answer.body

    async def _answered(self, request: bytes) -> Answer:
        async with self._free:
            try:
                return await self._once(request)
            except Unanswered:
                pass  # the server closed a kept connection while it was taken up: a read may be asked again
            try:
                return await self._once(request)
            except Unanswered:
                raise RonDBAway(f"{self.address} closed the connection without an answer, try later") from None

    async def _once(self, request: bytes) -> Answer:
        at = self.address
        try:
            return await self._pool.ask(request)
        except Unanswered:
            raise
        except BrokenOff:
            raise BrokenAnswer(f"{at} broke off its answer: none of it is served") from None
        except NotHTTP:
            raise BrokenAnswer(f"{at} did not answer in HTTP: none of it is served") from None
        except ssl.SSLCertVerificationError as foreign:
            raise RonDBAway(f"{at} has a certificate that was not accepted: {foreign.verify_message}") from foreign
        except ssl.SSLError as plain:
            raise RonDBAway(f"{at} does not speak TLS as it was asked to, needs TLS or to be asked without") from plain
        except OSError as gone:
            raise RonDBAway(f"{at} cannot be reached: the store is away, try later") from gone

    def _request(self, path: str, body: bytes, key: str) -> bytes:
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        head = (
            f"POST /{VERSION}/{path} HTTP/1.1\r\nHost: {host}:{self.address.port}\r\nX-API-KEY: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _asked(self) -> str:
        key = self._key()
        if not key or not key.isascii() or not key.isprintable():
            raise AccessRefused(f"the API key for {self.address} is empty or not printable ASCII, needs the key alone")
        self._known = key
        return key

    def _late(self) -> ReadDeadlinePassed:
        return ReadDeadlinePassed(f"{self.address} had no answer when the read's deadline passed")


def refusal_of(status: int, asked: object, about: object = "the view") -> StoreUnavailable:
    """Return the error of an HTTP status other than 200."""
    if status in (401, 403):
        return AccessRefused(
            f"{asked} refused the API key with {status}, needs one that may read features: "
            "a key file is read again, a key in a variable needs a restart"
        )
    if status in (400, 404):
        return ViewAbsent(f"{asked} said {status}: it does not know {about}, or not with these keys")
    if status == 429 or status >= 500:
        return RonDBAway(f"{asked} said {status}: the store is away, try later")
    return BrokenAnswer(f"{asked} said {status}, needs 200")

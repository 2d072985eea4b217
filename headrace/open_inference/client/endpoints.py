"""The addresses of one server, and which of them is asked next.

The one with the fewest requests under way is asked, of equals each in turn. One that fails is left out for a short
while, a longer one each time; never all of them. Names are resolved again every few seconds, and as soon as an
address fails: a new address is asked at once, one that has gone is asked no more. IPv6 addresses are asked only while
no IPv4 address answers, for a server often has both. Instants are of the running loop's clock, in seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from headrace.open_inference.client.channel import Channel
from headrace.open_inference.errors import NotReady

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

REFRESH_S = 5.0
#: How soon a name is resolved again where an address fails.
_AGAIN_S = 0.5
#: How long an address that failed is left out: at first, and at most.
_OUT_S, _LONGEST_OUT_S = 0.5, 10.0
#: So many errors or late answers in a row are a failure of the address.
STRIKES = 5


async def resolved(host: str, port: int) -> list[str]:
    """Return a name's addresses, each once; raises OSError where it has none. It is asked in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(slots=True, eq=False)
class Endpoint:
    """One address: how it is asked, and how that went."""

    address: str
    channel: Channel
    outstanding: int = 0
    failures: int = 0
    strikes: int = 0
    out_until: float = 0.0
    spare: bool = False  # asked only where nobody else can be

    def __post_init__(self) -> None:
        self.spare = ":" in self.address

    def succeeded(self) -> None:
        """Forget what went wrong before."""
        self.failures = self.strikes = 0
        self.out_until = 0.0


class Endpoints:
    """Every address of `host`, each with a channel of its own; an address is one for good."""

    def __init__(
        self,
        host: str,
        port: int,
        channel_of: Callable[[str], Channel],
        *,
        resolve: Resolve = resolved,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._host, self._port, self._channel_of = host, port, channel_of
        self._resolve, self._refresh_s = resolve, refresh_s
        self._known: list[Endpoint] = []
        self._turn = 0
        self._named = not _is_address(host)
        self._due = self._resolved_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def total(self) -> int:
        """How many addresses there are."""
        return len(self._known)

    def healthy(self, now: float) -> int:
        """Return how many are not left out."""
        return sum(endpoint.out_until <= now for endpoint in self._known)

    async def chosen(self, now: float) -> Endpoint:
        """Return who is asked next; raises NotReady where the name has never been resolved."""
        if self._named and now >= self._due:
            self._refresh(now)
        if not self._known:
            await self._first()
        if len(self._known) == 1:
            return self._known[0]
        return self._best(now, self._known)

    def another(self, failed: Endpoint, now: float, *, same: bool) -> Endpoint | None:
        """Return who may answer in place of one that failed, itself where it is the only one and `same` allows it."""
        others = [each for each in self._known if each is not failed and each.out_until <= now]
        if others:
            return self._best(now, others)
        return failed if same and failed in self._known else None

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """Leave an endpoint out for a while, and look for others; what fails meanwhile is the same failure."""
        self._due = min(self._due, self._resolved_at + _AGAIN_S)
        if endpoint.out_until <= now:
            endpoint.out_until = now + min(_OUT_S * 2**endpoint.failures, _LONGEST_OUT_S)
            endpoint.failures += 1

    def struck(self, endpoint: Endpoint, now: float) -> None:
        """Take note of an error or a late answer: one may be the request's fault, many in a row are the address's."""
        endpoint.strikes += 1
        if endpoint.strikes >= STRIKES:
            self.failed(endpoint, now)

    async def close(self) -> None:
        """End every channel; who is asked again begins anew."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()
        known, self._known = self._known, []
        self._due = self._resolved_at = float("-inf")
        for endpoint in known:
            await endpoint.channel.close()

    def _best(self, now: float, among: Sequence[Endpoint]) -> Endpoint:
        self._turn += 1
        first = self._turn % len(among)
        in_turn = (*among[first:], *among[:first])
        for each in in_turn:
            if not each.outstanding and each.out_until <= now and not each.spare:
                return each
        return min(in_turn, key=lambda each: (each.out_until > now, each.spare, each.outstanding))

    async def _first(self) -> None:
        if not self._named:
            self._take([self._host])
            return
        assert self._task is not None
        await asyncio.shield(self._task)
        if not self._known:
            raise NotReady(f"the predictor's name {self._host!r} has no address, needs one: try later")

    def _refresh(self, now: float) -> None:
        task, loop = self._task, asyncio.get_running_loop()
        if task is None or task.done() or task.get_loop() is not loop:
            self._task = loop.create_task(self._look(now))

    async def _look(self, now: float) -> None:
        try:
            found = await self._resolve(self._host, self._port)
        except (OSError, UnicodeError):
            found = ()  # those that are known are better than none
        self._resolved_at = now
        self._due = now + (self._refresh_s if found else min(_AGAIN_S, self._refresh_s))
        if found:
            self._take(found)

    def _take(self, addresses: Sequence[str]) -> None:
        known = {endpoint.address: endpoint for endpoint in self._known}
        self._known = [known.pop(a) if a in known else Endpoint(a, self._channel_of(a)) for a in addresses]
        for endpoint in self._known:
            endpoint.channel.alone = len(self._known) == 1
        for gone in known.values():
            gone.channel.retire()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

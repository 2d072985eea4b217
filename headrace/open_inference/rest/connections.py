"""The HTTP connections of one process: what each may take in time and bytes, and what was refused for it.

No connection has a timer. Each knows until when what it is doing may take, and all are looked at
once a second; so a bound of ten seconds is one of ten to eleven, and costs a request nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from headrace.open_inference.admission import Admission
from headrace.open_inference.rest.app import App
from headrace.open_inference.rest.direct import Direct

_LOOK_S = 1.0
#: Refusals for want of room a second, at some 30 microseconds each, beyond which connections are let rest.
_REFUSALS_PER_S, _REFUSALS_AT_ONCE = 600.0, 32.0
_REST_S = 0.005
#: Why connections are cut: too many of them, no descriptors or no TLS for them, what was sent too large, too slow, no
#: HTTP or too far ahead, an answer that is not read; `gone` is a caller that left while its request was under way.
REASONS = (
    "connections", "descriptors", "handshake", "head", "body", "slow", "malformed", "pipelined", "unread", "gone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may take: seconds and bytes, and how many there may be."""

    head_s: float = 10.0  # a new connection's silence, and a head that has begun
    head_bytes: int = 64 << 10
    headers: int = 100
    body_s: float = 10.0  # from the head to the end of the body
    answer_s: float = 10.0  # an answer that the caller does not read
    linger_s: float = 2.0  # after a refusal, for what is still on its way to be read and thrown away
    idle_s: float = 75.0  # above the clients' own (60 s is usual), so that it is the client that closes
    pipelined: int = 16  # requests sent before the answer to the first
    connections: int = 4096

    def with_connections(self, most: int) -> Bounds:
        """Return the same bounds with another number of connections."""
        return replace(self, connections=most)


class Bounded(Protocol):
    """A connection, as those who look after all of them see it."""

    until: float

    def expire(self) -> None:
        """What the connection was doing took too long."""

    def leave(self, idle_s: float) -> None:
        """Close if nothing was asked for so long and nothing is under way."""

    def abort(self) -> None:
        """Close at once."""

    def wake(self) -> None:
        """Read on after a rest."""


@dataclass(slots=True)
class Connections:
    """All HTTP connections of a process, who answers them, and how many requests are let in."""

    app: App
    admission: Admission
    bounds: Bounds = field(default_factory=Bounds)
    open: set[Bounded] = field(default_factory=set)
    opened: int = 0
    cut: dict[str, int] = field(default_factory=dict)
    resting: deque[Bounded] = field(default_factory=deque)
    _refusals: float = _REFUSALS_AT_ONCE
    _refused_s: float = 0.0
    direct: Direct | None = None  # who answers inferences that need no task, where there is somebody
    special: dict[str, Any] = field(default_factory=dict)  # by path: who answers in the application's place

    def count(self, reason: str) -> None:
        """Count a connection that was refused or cut off, for one of REASONS."""
        self.cut[reason] = self.cut.get(reason, 0) + 1

    def refused(self, connection: Bounded) -> bool:
        """Tell whether a connection that was refused for want of room is to rest, and wake it later.

        A refusal is cheap, but so many more of them come than of all else that they would take the time of those
        that are answered. Beyond a number a second, who was refused is not listened to for a while.
        """
        now = asyncio.get_running_loop().time()
        self._refill(now)
        if self._refusals >= 1.0:
            self._refusals -= 1.0
            return False
        if not self.resting:
            asyncio.get_running_loop().call_later(_REST_S, self._wake)
        self.resting.append(connection)
        return True

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        self._refill(loop.time())
        while self.resting and self._refusals >= 1.0:
            self._refusals -= 1.0
            self.resting.popleft().wake()
        if self.resting:
            loop.call_later(_REST_S, self._wake)

    def _refill(self, now: float) -> None:
        gained = (now - self._refused_s) * _REFUSALS_PER_S
        self._refusals, self._refused_s = min(_REFUSALS_AT_ONCE, self._refusals + gained), now

    def text(self) -> bytes:
        """Return what there is of connections and requests in the Prometheus text format."""
        admission, lines = self.admission, []
        for kind, name, meaning, value in (
            ("gauge", "headrace_connections", "HTTP connections open", len(self.open)),
            ("counter", "headrace_connections_opened_total", "HTTP connections opened", self.opened),
            (
                "gauge",
                "headrace_connections_resting",
                "HTTP connections not read for a while",
                len(self.resting),
            ),
            ("gauge", "headrace_bodies_held_bytes", "Bodies of requests held", self.app.gate.held.size),
            ("gauge", "headrace_requests_pending", "Requests let in and not answered", admission.pending),
            ("gauge", "headrace_requests_room", "Requests that are let in at once, as found out", admission.limit),
            ("counter", "headrace_requests_shed_total", "Requests refused for want of room", admission.shed),
        ):
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {float(value)}"]
        name = "headrace_connections_cut_total"
        lines += [f"# HELP {name} Connections that were refused or cut off, by reason", f"# TYPE {name} counter"]
        lines += [f'{name}{{reason="{reason}"}} {float(self.cut.get(reason, 0))}' for reason in REASONS]
        return ("\n".join(lines) + "\n").encode()

    async def watch(self) -> None:
        """Cut off what takes too long, until cancelled."""
        clock = asyncio.get_running_loop().time
        every = min(_LOOK_S, self.bounds.head_s / 4, self.bounds.body_s / 4, self.bounds.answer_s / 4)
        while True:
            await asyncio.sleep(every)
            now = clock()
            for connection in [each for each in self.open if each.until < now]:
                connection.expire()

    async def empty(self, within_s: float, idle_s: float = 0.25, opening: Collection[object] = ()) -> None:
        """Wait until every connection is closed: at once after its next answer, or when nothing is asked for `idle_s`.

        Those that are `opening` are connections soon, and waited for.

        A connection that is closed while its next request is on the way has failed that request. What has asked
        nothing for a while is not likely to ask in the instant between.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while (self.open or opening) and loop.time() < end:
            for connection in list(self.open):
                connection.leave(idle_s)
            await asyncio.sleep(0.02)
        for connection in list(self.open):
            connection.abort()

"""A load generator that does not wait for answers: requests are sent when they are due, whatever became of others.

A closed loop cannot overload anybody: it asks less as answers come later. This one sends at a rate, each request on a
connection on which nothing is under way, and opens another where there is none, up to a number. What finds none then
is `unsent`: its caller would have waited for a connection. What the generator itself is too late for is `skipped`, so
that its own slowness is nobody's latency. One thread over epoll.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

_CHUNK = 1 << 16
_AT_ONCE = 64  # requests sent before answers are looked at again
_LATE_S = 0.02
WAIT_S = 10.0  # for answers after the last request


@dataclass
class Arrivals:
    """What became of the requests of one phase; times are seconds since its beginning."""

    rate: float
    seconds: float
    said: Counter[int] = field(default_factory=Counter)
    good_at: list[float] = field(default_factory=list)
    good_took: list[float] = field(default_factory=list)
    unsent: int = 0
    skipped: int = 0
    hung_up: int = 0

    def good_per_second(self, within_s: float) -> float:
        """Return how many a second were answered with 200 in time."""
        return float(np.count_nonzero(np.array(self.good_took) <= within_s)) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of how long those took that were answered with 200; WAIT_S where none was."""
        return float(np.percentile(self.good_took or [WAIT_S], percent)) * 1e3


class Crowd:
    """Callers of one address, with a connection each while they ask."""

    def __init__(self, address: str, most: int = 1024) -> None:
        host, port = address.rsplit(":", 1)
        self._address, self._most = (host, int(port)), most
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._free: list[int] = []
        self._sent: dict[int, float] = {}
        self._heard: dict[int, bytes] = {}

    def ask(self, requests: list[bytes], rate: float, seconds: float) -> Arrivals:
        """Send so many requests a second for so many seconds, and return what became of them."""
        found, turn, clock = Arrivals(rate, seconds), cycle(requests), time.perf_counter
        began = clock()
        due, every, end = began, 1 / rate, began + seconds
        while (now := clock()) < end:
            if due < now - _LATE_S:
                found.skipped += (missed := int((now - due) / every))
                due += missed * every
            for _ in range(_AT_ONCE):
                if due > now:
                    break
                due += every
                self._send(next(turn), found)
            self._hear(max(0.0, min(due - clock(), 0.01)), began, found)
        self._wait(began, found)
        return found

    def close(self) -> None:
        """Hang up on every connection."""
        for each in self._open.values():
            each.close()
        self._poll.close()

    def _send(self, request: bytes, found: Arrivals) -> None:
        number = self._free.pop() if self._free else self._connect()
        if number < 0:
            found.unsent += 1
            return
        self._sent[number] = time.perf_counter()
        try:
            self._open[number].send(request)
        except OSError:
            self._drop(number, found)

    def _connect(self) -> int:
        if len(self._open) >= self._most:
            return -1
        connection = socket.create_connection(self._address, timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self._open[connection.fileno()] = connection
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return connection.fileno()

    def _hear(self, wait_s: float, began: float, found: Arrivals) -> None:
        for number, _ in self._poll.poll(wait_s):
            try:
                said = self._open[number].recv(_CHUNK)
            except OSError:
                said = b""
            if not said:
                self._drop(number, found)
                continue
            said = self._heard.pop(number, b"") + said
            end = said.find(b"\r\n\r\n")
            head = said[:end].lower()
            if end < 0 or len(said) < end + 4 + int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]):
                self._heard[number] = said
                continue
            self._count(number, int(head[9:12]), time.perf_counter(), began, found)
            self._free.append(number)

    def _count(self, number: int, status: int, now: float, began: float, found: Arrivals) -> None:
        sent = self._sent.pop(number)
        found.said[status] += 1
        if status == 200:
            found.good_at.append(now - began)
            found.good_took.append(now - sent)

    def _drop(self, number: int, found: Arrivals) -> None:
        if number in self._free:
            self._free.remove(number)
        elif self._sent.pop(number, None) is not None:
            found.hung_up += 1
        self._heard.pop(number, None)
        self._poll.unregister(number)
        self._open.pop(number).close()

    def _wait(self, began: float, found: Arrivals) -> None:
        end = time.perf_counter() + WAIT_S
        while self._sent and time.perf_counter() < end:
            self._hear(0.05, began, found)

"""A load of so many requests a second, whatever the server does: each is due at its own instant.

A request that finds every connection taken waits, and its latency counts from when it was due: a server that
stands still for a second is seen to have been late for everybody of that second.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from itertools import cycle

import numpy as np

from benchmarks.load import Load, Refused, complete

_CHUNK = 1 << 18


class Steady:
    """Kept-alive connections over which requests are sent at a steady rate; close it."""

    def __init__(self, address: str, requests: list[bytes], connections: int) -> None:
        host, port = address.rsplit(":", 1)
        opened = [socket.create_connection((host, int(port)), timeout=30) for _ in range(connections)]
        self._idle = deque(opened)  # who was idle longest is next: a server hangs up on who says nothing
        self._all = {each.fileno(): each for each in self._idle}
        self._requests = cycle(requests)
        self._poll = select.epoll()
        for number, each in self._all.items():
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(number, select.EPOLLIN)

    def send(self, rate: float, seconds: float) -> Load:
        """Send `rate` requests a second and return how late each was answered; raises Refused for an answer not 200."""
        count, clock = max(1, int(rate * seconds)), time.perf_counter
        due = clock() + np.arange(count) / rate
        waiting: dict[int, tuple[float, bytes]] = {}
        taken, at, began = [], 0, due[0]
        while at < count or waiting:
            now = clock()
            while at < count and due[at] <= now and self._idle:
                connection = self._idle.popleft()
                connection.sendall(next(self._requests))
                waiting[connection.fileno()] = (due[at], b"")
                at += 1
            pause = max(due[at] - now, 0.0) if at < count and self._idle else 1.0
            for number, _ in self._poll.poll(pause):
                since, before = waiting.get(number, (0.0, b""))
                came = self._all[number].recv(_CHUNK)
                if not came:
                    raise Refused("the server closed a connection that was in use")
                if not complete(buffer := before + came):
                    waiting[number] = (since, buffer)
                    continue
                del waiting[number]
                taken.append(clock() - since)
                self._idle.append(self._all[number])
        return Load(clock() - began, np.array(taken) * 1e3)

    def close(self) -> None:
        """Close the connections."""
        self._poll.close()
        for each in self._all.values():
            each.close()

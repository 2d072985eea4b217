"""A load generator for HTTP: kept-alive connections, each asking again as soon as it is answered.

One thread over epoll that sends ready-made bytes and reads only the status and the length of
the answers, about 20 microseconds a request: every side is asked by the same one.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from benchmarks.rounds import undisturbed

_CHUNK = 1 << 18


class Refused(Exception):
    """A server answered with an error, or with one of unknown length; the text holds its answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests were answered in how long, and how long each took."""

    seconds: float
    latencies_ms: np.ndarray

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.latencies_ms.size / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return float(np.percentile(self.latencies_ms, percent))


def put_load(address: str, requests: list[bytes], connections: int, seconds: float) -> Load:
    """Ask for so many seconds, every connection with the next of the requests; raises Refused for an answer not 200."""
    host, port = address.rsplit(":", 1)
    sockets = [socket.create_connection((host, int(port)), timeout=30) for _ in range(connections)]
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with undisturbed():
            return _put(sockets, cycle(requests), seconds)
    finally:
        for each in sockets:
            each.close()


def ask(address: str, request: bytes) -> bytes:
    """Send one request and return the body of its answer; raises Refused."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        buffer = b""
        while not (end := complete(buffer)):
            buffer += connection.recv(_CHUNK)
        head, _, body = buffer[:end].partition(b"\r\n\r\n")
        return _joined(body) if _is_chunked(head.lower()) else body


def _put(sockets: list[socket.socket], requests: cycle[bytes], seconds: float) -> Load:
    poll = select.epoll()
    by_number = {each.fileno(): each for each in sockets}
    buffers = dict.fromkeys(by_number, b"")
    sent: dict[int, float] = {}
    taken: list[float] = []
    clock = time.perf_counter
    began = clock()
    until = began + seconds
    for number, each in by_number.items():
        poll.register(number, select.EPOLLIN)
        sent[number] = clock()
        each.sendall(next(requests))
    while sent:
        for number, _ in poll.poll(30):
            answered = by_number[number].recv(_CHUNK)
            buffer = buffers[number] + answered
            end = complete(buffer)
            if not end and answered:
                buffers[number] = buffer
                continue
            if not answered:
                raise Refused("the server closed a connection in the middle of an answer")
            now = clock()
            taken.append(now - sent[number])
            buffers[number] = b""
            if now >= until:
                del sent[number]
                continue
            sent[number] = now
            by_number[number].sendall(next(requests))
    poll.close()
    return Load(clock() - began, np.array(taken) * 1e3)


def complete(buffer: bytes) -> int:
    """Return where the answer in a buffer ends, 0 where it is not complete."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    head = buffer[:head_end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        if not _is_chunked(head) or not head.startswith(b"http/1.1 200"):
            raise Refused(buffer[:2000].decode("utf-8", "replace"))
        return len(buffer) if buffer.endswith(b"0\r\n\r\n") else 0
    length = int(head[at + 15 :].split(b"\r\n", 1)[0])
    end = head_end + 4 + length
    if len(buffer) < end:
        return 0
    if not head.startswith(b"http/1.1 200"):
        raise Refused(buffer[:2000].decode("utf-8", "replace"))
    return end


def _is_chunked(head: bytes) -> bool:
    return b"transfer-encoding: chunked" in head


def _joined(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        body += chunks[: int(size, 16)]
        chunks = chunks[int(size, 16) + 2 :]
    return body

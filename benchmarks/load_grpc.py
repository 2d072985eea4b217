"""A load generator for gRPC: HTTP/2 frames over sockets, each connection asking again as soon as it is answered.

Frames are ready-made bytes in which only the number of the stream changes, about 25 microseconds a
request: grpc's own Python clients cost more than the servers they would measure. One stream at a time on each
connection, flow control kept; a call counts as answered when a message came and its stream ended. A call that
ends without a message has failed, and says so.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from itertools import cycle

import numpy as np

from benchmarks.load import Load, Refused
from benchmarks.rounds import undisturbed

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME, _FIRST_WINDOW = 16_384, 65_535  # what HTTP/2 allows until the server says otherwise
_CREDIT = 1 << 30  # how much a server may send: flow control of answers is not what is measured
_CHUNK = 1 << 18


def call(method: str, message: bytes) -> tuple[bytes, bytes]:
    """Return a call's header block and its body, ready to be framed."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "127.0.0.1")]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "headrace-benchmarks")]
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)  # literals, never indexed
    return block, struct.pack(">BI", 0, len(message)) + message


def put_grpc_load(address: str, calls: list[tuple[bytes, bytes]], connections: int, seconds: float) -> Load:
    """Call for so many seconds, every connection with the next of the calls; raises Refused for one that fails."""
    opened = [Connection(address) for _ in range(connections)]
    try:
        with undisturbed():
            return _put(opened, cycle(calls), seconds)
    finally:
        for each in opened:
            each.socket.close()


def ask_grpc(address: str, asked: tuple[bytes, bytes]) -> bytes:
    """Make one call and return the message it was answered with; raises Refused."""
    connection = Connection(address)
    try:
        connection.send(asked)
        while not connection.receive():
            pass
        return bytes(connection.message[5:])
    finally:
        connection.socket.close()


class Connection:
    """One HTTP/2 connection with at most one stream open; what it must answer by itself, it does."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message = bytearray()
        self._stream, self._buffer = -1, b""
        self._window = self._stream_window = _FIRST_WINDOW  # what may be sent: on the connection, on a new stream
        self._left, self._unsent = 0, b""
        settings = struct.pack(">HIHI", 4, _CREDIT, 1, 0)  # large windows of streams, no table of header fields
        self.socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, struct.pack(">I", _CREDIT))
        )

    def send(self, asked: tuple[bytes, bytes]) -> None:
        """Open the next stream with a call."""
        self._stream += 2
        self.message.clear()
        self._left, self._unsent = self._stream_window, asked[1]
        self._send_data(_frame(_HEADERS, _END_HEADERS, self._stream, asked[0]))

    def receive(self) -> bool:
        """Read what has come; tell whether the stream is answered. Raises Refused where the call failed."""
        came = self.socket.recv(_CHUNK)
        if not came:
            raise Refused("the server closed a connection in the middle of a call")
        buffer, at, ended = self._buffer + came, 0, False
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at - 9 < length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            body = buffer[at + 9 : at + 9 + length]
            at += 9 + length
            if stream and stream == self._stream and kind in (_DATA, _HEADERS, _RESET):
                ended |= self._of_stream(kind, flags, body)
            else:
                self._of_connection(kind, flags, stream, body)
        self._buffer = buffer[at:]
        return ended

    def _of_stream(self, kind: int, flags: int, body: bytes) -> bool:
        if kind == _DATA:
            self.message += body
        if kind == _RESET or (flags & _END_STREAM and not self.message):
            raise Refused(f"a call failed: {body[:500]!r}")
        return bool(flags & _END_STREAM)

    def _of_connection(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for at in range(0, len(body), 6):
                name, value = struct.unpack(">HI", body[at : at + 6])
                if name == 4:
                    self._left += value - self._stream_window
                    self._stream_window = value
            self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, 0, body))
        elif kind == _GOAWAY:
            raise Refused(f"the server ended a connection: {body[8:500]!r}")
        elif kind == _WINDOW:
            more = int.from_bytes(body, "big")
            if not stream:
                self._window += more
            elif stream == self._stream:
                self._left += more
        if self._unsent:
            self._send_data(b"")

    def _send_data(self, before: bytes) -> None:
        parts = [before] if before else []
        while self._unsent and (size := min(len(self._unsent), _FRAME, self._window, self._left)) > 0:
            part, self._unsent = self._unsent[:size], self._unsent[size:]
            self._window -= size
            self._left -= size
            parts.append(_frame(_DATA, 0 if self._unsent else _END_STREAM, self._stream, part))
        if parts:
            self.socket.sendall(b"".join(parts))


def _put(opened: list[Connection], calls: cycle[tuple[bytes, bytes]], seconds: float) -> Load:
    poll = select.epoll()
    by_number = {each.socket.fileno(): each for each in opened}
    sent: dict[int, float] = {}
    taken: list[float] = []
    clock = time.perf_counter
    began = clock()
    until = began + seconds
    for number, each in by_number.items():
        poll.register(number, select.EPOLLIN)
        sent[number] = clock()
        each.send(next(calls))
    while sent:
        for number, _ in poll.poll(30):
            if not by_number[number].receive() or number not in sent:
                continue
            now = clock()
            taken.append(now - sent[number])
            if now >= until:
                del sent[number]
                continue
            sent[number] = now
            by_number[number].send(next(calls))
    poll.close()
    return Load(clock() - began, np.array(taken) * 1e3)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()  # each is shorter than 127 bytes

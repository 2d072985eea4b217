"""Talking to a server byte by byte, and asking its metrics until they say what is waited for."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable

from tests.open_inference.live import Live

INFER = "/v2/models/echo/infer"
AMOUNT = b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'
WAIT = b'{"inputs": [{"name": "wait", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'


def post(body: bytes, *headers: str, path: str = INFER) -> bytes:
    """Return a request with its length."""
    head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def connected(live: Live, receive_buffer: int = 0) -> socket.socket:
    """Connect to the HTTP door; what it does not say within 20 seconds is a failure."""
    host, _, port = live.http.partition(":")
    found = socket.socket()
    if receive_buffer:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    found.settimeout(20)
    found.connect((host, int(port)))
    return found


def to_the_end(connection: socket.socket) -> bytes:
    """Return all that comes until the server hangs up, in whatever way."""
    said = b""
    try:
        while part := connection.recv(1 << 16):
            said += part
    except ConnectionResetError:
        pass
    return said


def said(live: Live, *pieces: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server hangs up."""
    with connected(live) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return to_the_end(connection)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return one answer: status, headers and body."""
    with connection.makefile("rb") as read:
        status = int(read.readline().split()[1])
        headers = {}
        while (line := read.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, read.read(int(headers.get("content-length", 0)))


def metric(live: Live, name: str) -> float:
    """Return a sample of the server's metrics, named with its labels; nan where there is none."""
    with urllib.request.urlopen(f"http://{live.http}/metrics", timeout=20) as told:
        text = told.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def cut(reason: str) -> str:
    """Return the sample that counts the connections cut for a reason."""
    return f'headrace_connections_cut_total{{reason="{reason}"}}'


def until(found: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Look again and again until it is so."""
    end, pause = time.monotonic() + within_s, threading.Event()
    while not found():
        assert time.monotonic() < end, f"{what} did not come about within {within_s:g} s"
        pause.wait(0.02)

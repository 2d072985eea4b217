"""A server that says what it is told to, byte for byte: what no server of ours would send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answers = Callable[[bytes], bytes | None]


@contextmanager
def saying(answer: Answers) -> Iterator[str]:
    """Serve connections one at a time until the block ends; gives the URL.

    `answer` is given the first bytes of a request and returns what is sent back; None is silence until the caller goes.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, answer))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def content(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return a whole answer that closes its connection."""
    lines = (b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _serve(listener: socket.socket, answer: Answers) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            said = answer(connection.recv(1 << 16))
            if said is None:
                connection.recv(1 << 16)
            else:
                connection.sendall(said)

"""HTTP/1.1 by hand, over plain sockets: what no client library would send can be sent, and what comes back is seen.

Every exchange is noted, shortened to what fits on a line. Nothing here follows redirects, retries or decompresses.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

_SHOWN = 160
Headers = Sequence[tuple[str, str]]


class NoAnswer(Exception):
    """The server cannot be reached, hung up, was silent too long or sent what is no HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer; header names are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        """Show the answer on a line."""
        return f"{self.status} {shown(self.body)}"


@dataclass(slots=True)
class Exchange:
    """What was sent and what came back, shortened."""

    sent: str
    got: str = "nothing"


def shown(body: bytes) -> str:
    """Return the beginning of a body as text on one line.

    >>> shown(b'{"live":true}')
    '{"live":true}'
    """
    text = "".join(sign if sign.isprintable() else "." for sign in body[:_SHOWN].decode("utf-8", "replace"))
    return text + (f"... ({len(body)} bytes)" if len(body) > _SHOWN else "")


class Connection:
    """One open connection. Answers come in the order of the requests."""

    def __init__(self, stream: socket.socket, file: BinaryIO, host: str, exchanges: list[Exchange]) -> None:
        self._stream = stream
        self._file = file
        self._host = host
        self._exchanges = exchanges
        self._methods: list[str] = []

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> Said:
        """Send one request and return its answer."""
        self.send(method, path, body, headers)
        return self.answer()

    def send(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> None:
        """Send one request; its length is told unless a header of the caller's says how long it is."""
        named = {name.lower() for name, _ in headers}
        own = [("Host", self._host)]
        if method == "POST" and not named & {"content-length", "transfer-encoding"}:
            own.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in (*own, *headers))
        note = "".join(f" [{name}: {value[:40]}]" for name, value in headers[:4]) + (" ..." if headers[4:] else "")
        self.send_raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body, "")
        self._methods.append(method)
        self._exchanges[-1].sent = f"{method} {path}{note} {shown(body)}".strip()

    def send_raw(self, data: bytes, note: str | None = None) -> None:
        """Send bytes as they are; a server may stop reading before their end, and answer."""
        self._exchanges.append(Exchange(shown(data) if note is None else note))
        with contextlib.suppress(OSError):
            self._stream.sendall(data)

    def send_more(self, data: bytes) -> None:
        """Send more of the request that was begun."""
        with contextlib.suppress(OSError):
            self._stream.sendall(data)

    def answer(self) -> Said:
        """Return the next answer."""
        noted = self._exchanges[-1] if self._exchanges else Exchange("")
        try:
            said = _read(self._file, self._methods.pop(0) if self._methods else "POST")
        except TimeoutError:
            noted.got = f"nothing within {self._stream.gettimeout():g} s"
            raise NoAnswer(noted.got) from None
        except OSError as broken:
            noted.got = f"the connection was closed ({broken.strerror or broken})"
            raise NoAnswer(noted.got) from None
        except NoAnswer as none:
            noted.got = str(none)
            raise
        noted.got = str(said)
        return said


@dataclass(slots=True)
class Wire:
    """Where a server listens, and what was exchanged with it. `url` is its root, such as http://127.0.0.1:8080."""

    url: str
    timeout_s: float = 10.0
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what is no URL of an HTTP server."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the server is {self.url!r}, needs a URL such as http://127.0.0.1:8080")

    @contextlib.contextmanager
    def connection(self, timeout_s: float | None = None) -> Iterator[Connection]:
        """Open a connection, closed at the end of the block; NoAnswer where there is no server."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            stream = socket.create_connection((host, port), timeout_s or self.timeout_s)
            if parts.scheme == "https":
                stream = ssl.create_default_context().wrap_socket(stream, server_hostname=host)
        except OSError as refused:
            self.exchanges.append(Exchange(f"a connection to {host}:{port}", str(refused)))
            raise NoAnswer(f"{host}:{port} cannot be reached ({refused.strerror or refused})") from None
        with stream, stream.makefile("rb") as file:
            yield Connection(stream, file, parts.netloc.rpartition("@")[2], self.exchanges)

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> Said:
        """Send one request on a connection of its own."""
        with self.connection() as opened:
            return opened.ask(method, urlsplit(self.url).path.rstrip("/") + path, body, headers)


def _read(file: BinaryIO, method: str) -> Said:
    line = file.readline(1 << 16)
    if not line:
        raise NoAnswer("the connection was closed without an answer")
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise NoAnswer(f"no HTTP/1.1 answer: {shown(line)}")
    status, headers = int(parts[1]), _headers(file)
    if 100 <= status < 200:
        return _read(file, method)
    return Said(status, headers, b"" if method == "HEAD" or status in (204, 304) else _body(file, headers))


def _headers(file: BinaryIO) -> dict[str, str]:
    found: dict[str, str] = {}
    while (line := file.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        found[name.strip().lower()] = value.strip()
    return found


def _body(file: BinaryIO, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return b"".join(_chunks(file))
    length = headers.get("content-length")
    if length is None:
        return file.read()
    if not length.isdigit():
        raise NoAnswer(f"an answer whose Content-Length is {length!r}")
    return _exactly(file, int(length))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while True:
        line = file.readline(1 << 16).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise NoAnswer(f"a chunked answer with the chunk size {shown(line)!r}") from None
        if size == 0:
            _headers(file)
            return
        yield _exactly(file, size)
        file.readline(1 << 16)


def _exactly(file: BinaryIO, size: int) -> bytes:
    body = file.read(size)
    if len(body) < size:
        raise NoAnswer(f"an answer of {len(body)} bytes that was to have {size}")
    return body

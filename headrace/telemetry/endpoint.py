"""The HTTP endpoint that a process without a server of its own is scraped at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

_LOOPBACK = "127.0.0.1"


@contextmanager
def serve(registry: CollectorRegistry, address: str) -> Iterator[str]:
    """Answer `GET /metrics` until the block ends; give the `host:port` listened at.

    `address` is `HOST:PORT`, or `PORT` for loopback only; port 0 is a free one. Raises ValueError
    where it is no address, or one that cannot be listened at.
    """
    host, port = _split(address)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as away:
        raise ValueError(f"metrics cannot be served at {host}:{port} ({away}), needs another HOST:PORT") from away
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"the address of metrics is {address!r}, needs HOST:PORT such as {_LOOPBACK}:9100")
    return host.strip("[]") or _LOOPBACK, int(port)

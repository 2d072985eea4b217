"""Ports to listen at: refused in plain words where they are taken, shared between processes where that is wanted."""

from __future__ import annotations

import errno
import socket

BACKLOG = 2048
#: How long what is under way has to finish once nothing new is taken in.
GRACE_S = 10.0


class PortTaken(OSError):
    """The server cannot listen where it was told to; nothing was started."""


def refuse_one_port(http_port: int, grpc_port: int | None) -> None:
    """Raise PortTaken where both doors are given one port."""
    if http_port and http_port == grpc_port:
        raise PortTaken(f"port {http_port} is given to HTTP and to gRPC, needs one for each: nothing was started")


def listener(host: str, port: int) -> socket.socket:
    """Listen at a port that nobody else has, 0 for any; raises PortTaken."""
    try:
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as refused:
        raise _taken(host, port, refused) from None


def held(host: str, port: int) -> socket.socket:
    """Hold a port, 0 for any, for processes that share it; raises PortTaken where somebody else has it.

    Nothing is listened to: who connects reaches one of those that do.
    """
    with listener(host, port) as alone:
        found = alone.getsockname()[1]
    return _shared(host, found)


def shared_listener(host: str, port: int) -> socket.socket:
    """Listen at a port that is held, beside other processes: the system gives each its share of the connections."""
    try:
        found = _shared(host, port)
        found.listen(BACKLOG)
    except OSError as refused:
        raise _taken(host, port, refused) from None
    return found


def in_url(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def _shared(host: str, port: int) -> socket.socket:
    found = socket.socket(_family(host), socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((host, port))
    return found


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _taken(host: str, port: int, refused: OSError) -> PortTaken:
    if refused.errno == errno.EADDRINUSE:
        return PortTaken(f"port {port} on {host} is taken, needs a free one, or 0 for any: nothing was started")
    return PortTaken(f"port {port} on {host} cannot be listened on ({refused.strerror}): nothing was started")

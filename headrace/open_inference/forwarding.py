"""Which headers of a request go on to whom its model asks: those that are named, and no other.

A request is looked into by name, so that one without them costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType

REQUEST_ID = b"x-request-id"
#: A name as it is in HTTP, and as text; in small letters.
Forwards = tuple[tuple[bytes, str], ...]
#: What goes on with a request of v1, which has no place for it.
BESIDE_V1: ContextVar[Mapping[str, str]] = ContextVar("beside_v1", default=MappingProxyType({}))


def forwards_of(names: Iterable[str]) -> Forwards:
    """Return names, given in small letters, in the form that is looked for."""
    return tuple((name.encode("ascii"), name) for name in names)


def of_http(forwards: Forwards, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return those of an HTTP request's headers that go on.

    >>> of_http(forwards_of(["x-request-id"]), {b"x-request-id": b"7", b"authorization": b"Bearer a"})
    {'x-request-id': '7'}
    """
    return {name: headers[raw].decode("latin-1") for raw, name in forwards if raw in headers}


def of_grpc(forwards: Forwards, metadata: Sequence[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Return those of a call's metadata that go on; what is binary never does.

    >>> of_grpc(forwards_of(["x-request-id"]), (("x-request-id", "7"), ("user-agent", "grpc")))
    {'x-request-id': '7'}
    """
    names = {name for _, name in forwards}
    return {key: value for key, value in metadata or () if key in names and isinstance(value, str)}

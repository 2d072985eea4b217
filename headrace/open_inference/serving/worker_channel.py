"""Messages between a parent process and its workers, over a pair of sockets: a kind, a number and bytes."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum

_HEAD = struct.Struct("<IBI")
_LIMIT = 1 << 20


class Kind(IntEnum):
    """What a message says."""

    LISTENING = 1  # a worker listens at its ports
    READY = 2  # a worker's reason not to be ready, empty where it is; from the parent: the first reason of all
    ASK = 3  # tell what the number names, a Subject; from a worker, as one byte: tell it of all, under this number
    TOLD = 4  # what was asked for, under the number it was asked with


class Subject(IntEnum):
    """What workers are asked for."""

    METRICS = 1
    STATISTICS = 2


@dataclass(slots=True)
class Channel:
    """One end of the pair."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, kind: Kind, payload: bytes = b"", number: int = 0) -> None:
        """Send a message; one to an end that has gone is lost."""
        if not self.writer.is_closing():
            self.writer.write(_HEAD.pack(len(payload), kind, number) + payload)

    async def receive(self) -> tuple[Kind, bytes, int] | None:
        """Return the next message, or None when the other end has gone."""
        try:
            size, kind, number = _HEAD.unpack(await self.reader.readexactly(_HEAD.size))
            return Kind(kind), await self.reader.readexactly(size), number
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Let go of the other end."""
        self.writer.close()


async def channel_of(end: object) -> Channel:
    """Return the channel over a connected socket."""
    reader, writer = await asyncio.open_connection(sock=end, limit=_LIMIT)  # type: ignore[call-overload]
    return Channel(reader, writer)


def packed(texts: list[bytes]) -> bytes:
    """Return several texts as one.

    >>> unpacked(packed([b"one", b"", b"three"]))
    [b'one', b'', b'three']
    """
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def unpacked(joined: bytes) -> list[bytes]:
    """Return the texts that `packed` made one."""
    texts, at = [], 0
    while at < len(joined):
        (size,) = struct.unpack_from("<I", joined, at)
        texts.append(joined[at + 4 : at + 4 + size])
        at += 4 + size
    return texts

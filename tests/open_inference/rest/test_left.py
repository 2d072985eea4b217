"""Of a caller that has left nothing stays: what it sent may be large, and the collector of garbage counts no bytes."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator

import pytest

from headrace.open_inference.admission import Admission
from headrace.open_inference.rest.app import make_app
from headrace.open_inference.rest.connections import Bounds, Connections
from headrace.open_inference.rest.http_protocol import Connection

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"x" * 900, HEAD + b"x" * 1000])
def test_a_caller_that_leaves_leaves_nothing_behind(sent: bytes) -> None:
    async def scene() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        everyone = Connections(make_app({}), Admission(10), Bounds())

        class Ending(Connection):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                ended.set()

        ours, theirs = socket.socketpair()
        with theirs:
            _, connection = await loop.create_connection(lambda: Ending(everyone, loop), sock=ours)
            connection.data_received(sent) if sent else None
            await asyncio.sleep(0)  # what was asked has begun
        gone = weakref.ref(connection)
        del connection
        await ended.wait()
        for _ in range(5):  # what was under way is cancelled, and the transport lets go
            await asyncio.sleep(0)
        assert gone() is None

    asyncio.run(scene())

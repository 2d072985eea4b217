"""A small RonDB REST server in the test's own loop: rows put by hand, and every way to answer badly."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from headrace.stores.rondb.client import Address, RonDBClient
from headrace.stores.rondb.store import RonDBStore
from headrace.stores.rondb.view import TilesColumn, TilesView
from tests.stores.small import CARDS, SHOPS

#: The vectors have a value of no interest between the tiles, as a view that selects more would.
VIEW = TilesView("shop", "shop_tiles_fv", 1, 3, (TilesColumn(CARDS, 0, "card"), TilesColumn(SHOPS, 2, "shop")), "shop")
KEY = "a-key.of-ours"


def ok(answer: bytes) -> bytes:
    """Return a whole HTTP answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)


def refusal(status: int, *right: object) -> bytes:
    """Return an HTTP refusal, whatever would have been right."""
    return b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\n{}" % status


Bad = Callable[[dict[str, Any], bytes], bytes | None]
#: What a bad answer is made of: the answer that would be right, as JSON and as bytes; None is never sent.
BAD: dict[str, Bad] = {
    "none": lambda right, raw: None,
    "cut off": lambda right, raw: ok(raw)[:-20],
    "not HTTP": lambda right, raw: b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "not JSON": lambda right, raw: ok(b"<html>" + raw),
    "half JSON": lambda right, raw: ok(raw[: len(raw) // 2]),
    "no object": lambda right, raw: ok(b"[]"),
    "no list": lambda right, raw: ok(b'{"features":null}'),
    "a vector too few": lambda right, raw: ok(orjson.dumps({**right, "features": right["features"][1:]})),
    "a vector too many": lambda right, raw: ok(orjson.dumps({**right, "features": [*right["features"], [None] * 3]})),
    "a null vector": lambda right, raw: ok(orjson.dumps({**right, "features": [*right["features"][1:], None]})),
    "a read that failed": lambda right, raw: ok(orjson.dumps({**right, "status": ["ERROR"] * len(right["status"])})),
    "narrow vectors": lambda right, raw: ok(orjson.dumps({**right, "features": [v[1:] for v in right["features"]]})),
    "one narrow vector": lambda right, raw: ok(
        orjson.dumps({**right, "features": [*right["features"][:-1], right["features"][-1][1:]]})
    ),
    "vectors that are none": lambda right, raw: ok(orjson.dumps({**right, "features": [7] * len(right["features"])})),
    "numbers for tiles": lambda right, raw: ok(orjson.dumps({**right, "features": [[1, 2, 3]] * len(right["status"])})),
    "text for tiles": lambda right, raw: ok(
        orjson.dumps({**right, "features": [["~~", 2, "a"]] * len(right["status"])})
    ),
}
BAD |= {str(status): partial(refusal, status) for status in (400, 401, 404, 429, 500, 503)}


@dataclass
class Server:
    """What the server holds, was asked, and does wrong."""

    rows: dict[str, dict[Any, bytes]] = field(default_factory=lambda: {"card": {}, "shop": {}})
    asked: list[dict[str, Any]] = field(default_factory=list)
    key: str = KEY
    wrong: Bad | None = None
    drop: int = 0  # so many requests are dropped without an answer
    port: int = 0
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the right answer."""
        vectors, status = [], []
        for entry in request["entries"]:
            card, shop = (self.rows[name].get(entry.get(name)) for name in ("card", "shop"))
            vectors.append([card and b64encode(card).decode(), "of no interest", shop and b64encode(shop).decode()])
            status.append("COMPLETE" if card and shop else "MISSING")
        return {"features": vectors, "metadata": None, "status": status, "detailedStatus": None}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        request = orjson.loads(await reader.readexactly(length))
        assert head.startswith("post /0.1.0/batch_feature_store http/1.1")
        self.asked.append(request)
        if self.drop:
            self.drop -= 1
            return False
        if f"x-api-key: {self.key}".lower() not in head:
            writer.write(refusal(401))
            return True
        right = self.answer(request)
        raw = ok(orjson.dumps(right)) if self.wrong is None else self.wrong(right, orjson.dumps(right))
        if raw is None:
            await reader.read()
            return False
        writer.write(raw)
        return self.wrong is None


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """Serve on a free port of loopback, or on the one it had before."""
    listening = await asyncio.start_server(server._serve, "127.0.0.1", server.port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in list(server.open):
            writer.close()
        await listening.wait_closed()


@asynccontextmanager
async def reading(server: Server, key: Callable[[], str] = lambda: KEY, **limits: Any) -> AsyncIterator[RonDBStore]:
    """Give a store that reads a served server."""
    most = {name: limits.pop(name) for name in ("most_entries",) if name in limits}
    client = RonDBClient(Address("127.0.0.1", server.port), key, **limits)
    try:
        yield RonDBStore(VIEW, client, **most)
    finally:
        client.close()

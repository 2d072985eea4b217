"""What a process holds of bodies is bounded, and given free however a request ends; refusals of them are read."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
from typing import Any

import pytest

from headrace.open_inference.bodies_held import FULL, SMALL
from tests.open_inference.rest.askable import Server, answers_in, played, sent, tensors

LARGE = tensors("wait") + b" " * (2 * SMALL)
CROWDED = json.dumps({"error": FULL}, separators=(",", ":")).encode()


async def held_by(server: Server, body: bytes, *headers: str) -> asyncio.StreamWriter:
    """Send a request that is not answered, and wait until it is held."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    before = len(server.model.asked)
    writer.write(sent(body, *headers))
    await server.until(lambda: len(server.model.asked) > before)
    return writer


@pytest.mark.parametrize("direct", [True, False])
def test_a_large_body_beyond_all_that_is_held_is_refused_and_a_small_one_is_not(direct: bool) -> None:
    async def scene(server: Server) -> Any:
        held = server.connections.app.gate.held
        held.most = 2 * len(LARGE)
        first, second = [await held_by(server, LARGE) for _ in range(2)]
        full = held.size
        refused = await server.said(sent(LARGE, last=False), answers=1)
        small = await server.said(sent(tensors("amount")))
        first.transport.abort()
        await server.until(lambda: held.size == len(LARGE))
        again = await held_by(server, LARGE)
        for writer in (second, again):
            writer.transport.abort()
        return full, refused, small, server.connections.admission.shed

    full, refused, small, shed = played(scene, direct=direct)
    ((head, body),) = answers_in(refused)
    assert (full, shed) == (2 * len(LARGE), 1)
    assert (head.split()[1], body) == (b"429", CROWDED)
    assert b"retry-after: 1" in head
    assert answers_in(small)[0][0].split()[1] == b"200"


def test_a_refused_body_is_read_to_its_end_and_the_connection_goes_on() -> None:
    async def scene(server: Server) -> Any:
        server.connections.app.gate.held.most = 0
        return await server.said(sent(LARGE, last=False), sent(tensors("amount"), last=False), answers=2)

    assert [head.split()[1] for head, _ in answers_in(played(scene))] == [b"429", b"200"]


def test_a_large_body_behind_a_request_under_way_is_refused_in_its_turn() -> None:
    async def scene(server: Server) -> Any:
        server.connections.app.gate.held.most = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        small = sent(tensors("wait"), last=False)
        writer.write(small + sent(LARGE, last=False))
        await server.until(lambda: server.connections.cut.get("body") == 1)
        server.model.asked[0].end()
        said = await reader.read()
        writer.close()
        return said

    assert [(head.split()[1], body) for head, body in answers_in(played(scene))][1:] == [(b"429", CROWDED)]


def test_a_compressed_body_is_held_as_what_became_of_it() -> None:
    packed = gzip.compress(tensors("wait") + b" " * 900_000)

    async def scene(server: Server) -> Any:
        held = server.connections.app.gate.held
        held.most = 1_000_000
        writer = await held_by(server, packed, "content-encoding: gzip")
        size = held.size
        refused = await server.said(sent(packed, "content-encoding: gzip"))
        writer.transport.abort()
        return size, refused

    size, refused = played(scene)
    assert size > 900_000 > 100 * len(packed)
    assert answers_in(refused)[0][1] == CROWDED


def test_who_sends_a_body_that_is_too_large_without_looking_up_reads_why_it_is_refused() -> None:
    async def scene(server: Server) -> Any:
        def send() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            connection.request("POST", "/v2/models/echo/infer", body=b" " * (40 << 20))
            answer = connection.getresponse()
            return answer.status, answer.read()

        return await asyncio.to_thread(send)

    status, body = played(scene)
    assert (status, json.loads(body)) == (413, {"error": "the body has 41943040 bytes, needs at most 1048576"})

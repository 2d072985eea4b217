"""A request sent behind one that is still answered, and refused for want of room: its refusal comes in its turn."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace.open_inference.admission import FULL
from tests.open_inference.rest.askable import Server, answers_in, played, sent, tensors

SLOW, BEHIND, AFTER = (sent(tensors(name, request=name), last=False) for name in ("wait", "amount", "count"))


def no_room_at_the_gate(server: Server) -> None:
    server.gate.max_in_flight = 1


def no_room_in_the_admission(server: Server) -> None:
    server.connections.admission.limit = 1


async def whole(reader: asyncio.StreamReader, said: bytes, answers: int) -> bytes:
    """Read on until there are so many answers."""
    async with asyncio.timeout(20):
        while len(answers_in(said)) < answers:
            part = await reader.read(1 << 16)
            assert part, said
            said += part
    return said


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("no_room", "sent_early", "reason"),
    [
        (no_room_at_the_gate, len(BEHIND), "1 requests are under way, needs fewer than 1: try later"),
        (no_room_in_the_admission, len(BEHIND) - 1, FULL),  # a body that is not whole is refused unread
    ],
)
def test_it_is_the_second_answer_of_a_connection_that_goes_on(
    no_room: Any, sent_early: int, reason: str, direct: bool
) -> None:
    async def scene(server: Server) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        _, other = await asyncio.open_connection("127.0.0.1", server.port)
        for number, each in enumerate((writer, other), 1):
            each.write(SLOW)
            await server.until(lambda number=number: len(server.model.asked) == number)  # type: ignore[misc]
        no_room(server)
        writer.write(BEHIND[:sent_early])
        opened: Any = server.connections.open
        await server.until(lambda: any(each._waiting or each._incoming for each in opened))
        server.model.asked[0].end()
        said = await whole(reader, b"", 2)
        writer.write(BEHIND[sent_early:])
        server.model.asked[1].end()
        await server.until(lambda: server.under_way == (0, 0, 0))
        writer.write(AFTER)
        said = await whole(reader, said, 3)
        for each in (writer, other):
            each.transport.abort()
        return said

    first, second, third = answers_in(played(scene, direct=direct))
    assert [head.split()[1] for head, _ in (first, second, third)] == [b"200", b"429", b"200"]
    assert [json.loads(body).get("id") for _, body in (first, third)] == ["wait", "count"]
    assert json.loads(second[1]) == {"error": reason}
    assert b"\r\nretry-after: 1" in second[0]
    assert b"connection: close" not in second[0]


@pytest.mark.parametrize("direct", [True, False])
def test_a_server_that_drains_answers_what_was_sent_ahead_and_ends_the_connection_with_the_last(direct: bool) -> None:
    async def scene(server: Server) -> bytes:
        server.gate.draining = True
        return await server.said(AFTER * 3)

    heads = [head for head, _ in answers_in(played(scene, direct=direct))]
    assert [head.split()[1] for head in heads] == [b"200"] * 3
    assert [head.endswith(b"\r\nconnection: close") for head in heads] == [False, False, True]

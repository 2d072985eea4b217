"""A caller that takes its answer slowly has it whole; one that takes nothing for a while is cut off."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np

from headrace.open_inference import InferResponse, Tensor
from headrace.open_inference.servable import Answered
from tests.open_inference.rest.askable import Answering, Asked, Server, played, sent, tensors

LARGE = 16_000_000
ASKED = sent(tensors("amount", more=',"parameters":{"binary_data_output":true}'))


class Large(Answering):
    """Answers with 16 MB."""

    def ask(self, request: Any, deadline: float, answered: Answered) -> Asked:
        found = InferResponse("echo", "1", "", [Tensor.of("score", np.zeros(LARGE // 8))])
        return super().ask(request, deadline, lambda _: answered(found))


async def slowly(server: Server) -> tuple[int, dict[str, int]]:
    """Take an answer in parts, with the bound over after each; then nothing, with the bound over twice."""
    loop, taken = asyncio.get_running_loop(), 0
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        caller.setblocking(False)
        await loop.sock_connect(caller, ("127.0.0.1", server.port))
        await loop.sock_sendall(caller, ASKED)
        await server.until(lambda: server.counts["answered"] == 1)
        (connection,) = server.connections.open
        transport = connection._transport  # type: ignore[attr-defined]
        for _ in range(3):
            before = transport.get_write_buffer_size()
            while transport.get_write_buffer_size() == before:
                taken += len(await loop.sock_recv(caller, 1 << 16))
            connection.expire()
            assert (server.connections.cut, connection.until > loop.time()) == ({}, True)
        connection.expire()
        connection.expire()
    return taken, server.connections.cut


def test_who_takes_a_part_of_its_answer_has_as_long_again_and_who_takes_nothing_has_not() -> None:
    taken, cut = played(slowly, kind=Large)
    assert 0 < taken < LARGE
    assert cut["unread"] >= 1

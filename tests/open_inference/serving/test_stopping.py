"""SIGTERM under load fails no request, over HTTP and gRPC, on busy and on idle connections."""

from __future__ import annotations

import asyncio

from tests.open_inference.rolling import amount, echo, roll
from tests.open_inference.sockets import AMOUNT, post


def test_no_request_fails_while_servers_follow_one_another() -> None:
    traffic = asyncio.run(roll(echo, 3, post(AMOUNT), amount()))
    assert traffic.failed == []
    assert set(traffic.said) == {"200", "grpc"}
    assert min(traffic.said.values()) > 10

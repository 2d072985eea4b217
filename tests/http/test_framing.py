"""However an answer's bytes come, it is the same answer; whatever bytes come, they are an answer or an error."""

from __future__ import annotations

import asyncio
import gc
import socket

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.http.connection import Answer, BrokenOff, Connection

BODY = b"0123456789" * 3
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nX-A: b\r\n\r\n" + BODY
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n14\r\n" + BODY[10:] + b"\r\n0\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + LENGTH
RIGHT = st.sampled_from([LENGTH, CHUNKS, CONTINUED])


def test_half_an_answer_is_let_go_with_its_connection() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, sock=ours)
            answer = connection.ask(b"POST / HTTP/1.1\r\n\r\n")
            connection.data_received(LENGTH[:-3])
        with pytest.raises(BrokenOff):
            await answer
        assert connection._parts == []
        assert not any(isinstance(one, httptools.HttpResponseParser) for one in gc.get_referrers(connection))

    asyncio.run(scene())


def given_bytes(parts: list[bytes]) -> tuple[Answer | ConnectionError, bool]:
    """Give a connection that has asked these bytes, and then the end; return what it made of them, and if it is open.

    The connection is a real one, over a pair of sockets; the bytes are given as the loop would.
    """

    async def scene() -> tuple[Answer | ConnectionError, bool]:
        ours, theirs = socket.socketpair()
        with theirs:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(longest=1000), sock=ours
            )
            answer = connection.ask(b"POST / HTTP/1.1\r\n\r\n")
            for part in parts:
                connection.data_received(part)
            kept = connection.open
            connection.close()
            connection.connection_lost(None)
            try:
                return await answer, kept
            except ConnectionError as failed:
                return failed, kept

    return asyncio.run(scene())


@given(RIGHT, st.lists(st.integers(1, 12), min_size=1))
def test_an_answer_is_the_same_in_whatever_parts_it_comes(raw: bytes, sizes: list[int]) -> None:
    parts, at = [], 0
    while at < len(raw):
        size = sizes[len(parts) % len(sizes)]
        parts.append(raw[at : at + size])
        at += size
    said, kept = given_bytes(parts)
    assert isinstance(said, Answer)
    assert (said.status, said.body, kept) == (200, BODY, True)


@given(RIGHT, st.data())
def test_an_answer_that_ends_early_is_none(raw: bytes, data: st.DataObject) -> None:
    said, _ = given_bytes([raw[: data.draw(st.integers(0, len(raw) - 1))]])
    assert isinstance(said, ConnectionError)


@given(RIGHT, st.integers(0, 200), st.binary(max_size=8), st.integers(0, 8))
@example(LENGTH, 9, b"99999", 3)
@example(CHUNKS, 47, b"ffffffffffffffffff", 1)
@example(LENGTH, 33, b"-", 0)
def test_an_answer_that_was_changed_is_an_answer_or_an_error(raw: bytes, at: int, other: bytes, cut: int) -> None:
    said, _ = given_bytes([raw[:at] + other + raw[at + cut :]])
    assert isinstance(said, Answer | ConnectionError)


@given(st.lists(st.binary(max_size=50), max_size=4))
def test_no_bytes_are_more_than_an_error(parts: list[bytes]) -> None:
    assert isinstance(given_bytes(parts)[0], ConnectionError)

"""Connections against servers that answer in every way one can; a connection is kept only where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from headrace.http.connection import LONGEST_HEAD, Answer, BrokenOff, NotHTTP, TooLong, Unanswered
from headrace.http.pool import Pool

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Said: yes\r\n\r\nyes"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nye\r\n1;a=b\r\ns\r\n0\r\nX-Late: 1\r\n\r\n"


class Served:
    """A server that gives these answers in turn, one for each request, and counts connections.

    None is hanging up without one; behind the last one, too, or behind each one, it hangs up.
    """

    def __init__(self, answers: Iterable[bytes | None], behind_each: bool = False) -> None:
        self.left, self.behind_each = list(answers), behind_each
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.left:
                await reader.readexactly(len(REQUEST))
                answer = self.left.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if self.behind_each:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


Ask = Callable[[Pool], Awaitable[Any]]


def asked(*answers: bytes | None, ask: Ask | None = None, behind_each: bool = False, **limits: Any) -> tuple[Any, int]:
    """Ask a server as often as it has answers, or as told; return the last answer or error, and its connections."""
    served = Served(answers, behind_each)

    async def one(pool: Pool) -> Any:
        try:
            return await pool.ask(REQUEST)
        except ConnectionError as failed:
            return failed

    async def scene() -> Any:
        server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
        async with server:
            pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], **limits)
            if ask is not None:
                said = await ask(pool)
            else:
                for _ in answers:
                    said = await one(pool)
            pool.close()
            return said

    return asyncio.run(scene()), served.connections


@pytest.mark.parametrize("answer", [OK, CHUNKED, b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + OK])
def test_a_connection_is_kept_after_a_whole_answer(answer: bytes) -> None:
    said, connections = asked(answer, answer, answer)
    assert (said.status, said.body) == (200, b"yes")
    assert connections == 1


def test_headers_are_found_in_small_letters_and_trailers_are_not_headers() -> None:
    said, _ = asked(OK)
    assert (said.header(b"x-said"), said.header(b"x-other")) == (b"yes", None)
    assert asked(CHUNKED)[0].header(b"x-late") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + OK,
        OK + b"more",
    ],
    ids=["told to close", "HTTP/1.0", "two answers", "more bytes"],
)
def test_a_connection_whose_next_bytes_are_uncertain_is_not_kept(answer: bytes) -> None:
    said, connections = asked(answer, answer)
    assert said.status == 200
    assert connections == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, Unanswered),
        (OK[:-1], BrokenOff),
        (OK[:9], BrokenOff),
        (CHUNKED[:-4], BrokenOff),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", BrokenOff),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotHTTP),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", NotHTTP),
        (OK.replace(b"X-Said: yes", b"Content-Length: 4"), NotHTTP),
        (OK.replace(b"X-Said: yes", b"Transfer-Encoding: chunked"), NotHTTP),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONGEST_HEAD, TooLong),
        (OK.replace(b"3", b"2000").replace(b"yes", b"y" * 2000), TooLong),
        (CHUNKED.replace(b"X-Late", b"X" * (8 * LONGEST_HEAD)), TooLong),
    ],
    ids=[
        "none",
        "cut off",
        "cut in its first line",
        "chunks without an end",
        "without a length",
        "another protocol",
        "an upgrade",
        "two lengths",
        "a length and chunks",
        "a long head",
        "a long body",
        "a long trailer",
    ],
)
def test_no_answer_is_an_error_and_ends_its_connection(answer: bytes | None, kind: type[Exception]) -> None:
    assert type(asked(answer, longest=1000)[0]) is kind
    said, connections = asked(answer, OK, longest=1000, behind_each=True)
    assert isinstance(said, Answer)
    assert connections == 2


def test_a_connection_whose_answer_was_not_waited_for_is_closed() -> None:
    async def ask(pool: Pool) -> Answer:
        await pool.ask(REQUEST)
        waiting = asyncio.ensure_future(pool.ask(REQUEST))
        await asyncio.sleep(0)  # long enough to take up the connection that was kept
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await pool.ask(REQUEST)

    said, connections = asked(OK, OK, OK, ask=ask)
    assert said.body == b"yes"
    assert connections == 2


@pytest.mark.parametrize("limits", [{"idle_s": 0.0}, {"age_s": 0.0}])
def test_a_connection_that_was_idle_or_is_old_is_not_taken_up(limits: dict[str, float]) -> None:
    assert asked(OK, OK, **limits)[1] == 2


def test_a_retired_pool_answers_what_is_under_way_and_keeps_nothing() -> None:
    async def ask(pool: Pool) -> tuple[Answer, Answer]:
        first = await pool.ask(REQUEST)
        waiting = asyncio.ensure_future(pool.ask(REQUEST))
        await asyncio.sleep(0)  # long enough to take up the connection that was kept
        pool.retire()
        second = await waiting
        assert not pool._idle
        return first, second

    said, connections = asked(OK, OK, ask=ask)
    assert [answer.body for answer in said] == [b"yes", b"yes"]
    assert connections == 1


def test_requests_at_the_same_time_have_a_connection_each() -> None:
    async def ask(pool: Pool) -> list[Answer]:
        return await asyncio.gather(*(pool.ask(REQUEST) for _ in range(5)))

    said, connections = asked(*[OK] * 6, ask=ask)
    assert {answer.body for answer in said} == {b"yes"}
    assert connections == 5


def test_a_server_that_does_not_answer_in_tls_is_an_error_of_tls() -> None:
    import ssl

    async def ask(pool: Pool) -> None:
        with pytest.raises(OSError):
            await pool.ask(REQUEST)

    asked(OK, ask=ask, tls=ssl.create_default_context(), name="localhost")

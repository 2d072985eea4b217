"""Every bad answer is an error of its own kind, never a value; and what ends, ends."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest

from headrace.stores.online import ReadDeadlinePassed, RowsUnread, StoreUnavailable, Unreachable
from headrace.stores.rondb.errors import AccessRefused, BrokenAnswer, RonDBAway, ViewAbsent
from tests.stores.rondb.server import BAD, KEY, reading, serving
from tests.stores.rondb.test_store import asked, filled
from tests.stores.small import CARDS, SUM

LOOKUPS = asked([1, 2], [1, 2])
AS_OF = np.full(2, 60_000)

KINDS = {
    "none": (ReadDeadlinePassed, r"RonDB at 127.0.0.1:\d+ had no answer when the read's deadline passed"),
    "cut off": (BrokenAnswer, "broke off its answer: none of it is served"),
    "not HTTP": (BrokenAnswer, "did not answer in HTTP: none of it is served"),
    "not JSON": (BrokenAnswer, "is not JSON"),
    "half JSON": (BrokenAnswer, "is not JSON"),
    "no object": (BrokenAnswer, "has no list of features, needs one of 2"),
    "no list": (BrokenAnswer, "has no list of features, needs one of 2"),
    "a vector too few": (BrokenAnswer, "has 1 vectors, needs 2"),
    "a vector too many": (BrokenAnswer, "has 3 vectors, needs 2"),
    "a null vector": (RowsUnread, "could not read 1 of 2 vectors of view shop_tiles_fv version 1"),
    "a read that failed": (BrokenAnswer, "could not read 2 of 2 vectors"),
    "narrow vectors": (BrokenAnswer, "has vectors of another width, needs 3 values each"),
    "one narrow vector": (BrokenAnswer, "has vectors of another width, needs 3 values each"),
    "vectors that are none": (BrokenAnswer, "has vectors of another width, needs 3 values each"),
    "numbers for tiles": (BrokenAnswer, "has tiles that are not base64"),
    "text for tiles": (BrokenAnswer, "has tiles that are not base64"),
    "400": (ViewAbsent, "view shop_tiles_fv version 1 is absent: .* said 400.*; run headrace hopsworks apply shop"),
    "401": (AccessRefused, "refused the API key with 401, needs one that may read features"),
    "404": (ViewAbsent, "view shop_tiles_fv version 1 is absent: .* said 404"),
    "429": (RonDBAway, "said 429: the store is away, try later"),
    "500": (RonDBAway, "said 500: the store is away, try later"),
    "503": (RonDBAway, "said 503: the store is away, try later"),
}


def test_every_bad_answer_has_its_error():
    assert KINDS.keys() == BAD.keys()


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_answer_is_an_error_and_its_end_is_noticed_at_once(bad):
    async def scene() -> tuple[StoreUnavailable, float]:
        _, server = filled({1: 10.0, 2: 20.0}, {1: 1.0})
        async with serving(server), reading(server, timeout_s=0.05 if bad == "none" else 20.0) as store:
            server.wrong = BAD[bad]
            with pytest.raises(StoreUnavailable) as failed:
                await store.read(LOOKUPS, AS_OF)
            server.wrong = None
            (cards, _) = await store.read(LOOKUPS, AS_OF, asyncio.get_running_loop().time() + 20.0)
            return failed.value, float(cards.values[:, SUM].sum())

    error, total = asyncio.run(scene())
    kind, said = KINDS[bad]
    assert type(error) is kind
    assert re.search(said, str(error)), str(error)
    assert KEY not in str(error)
    assert total == 30.0


def test_a_read_ends_at_its_deadline_and_the_next_one_is_answered():
    async def scene() -> None:
        _, server = filled({1: 10.0, 2: 20.0}, {})
        async with serving(server), reading(server) as store:
            await store.read(LOOKUPS, AS_OF)
            server.wrong = BAD["none"]
            with pytest.raises(ReadDeadlinePassed):
                await store.read(LOOKUPS, AS_OF, asyncio.get_running_loop().time() + 0.02)
            with pytest.raises(ReadDeadlinePassed):
                await store.read(LOOKUPS, AS_OF, asyncio.get_running_loop().time() - 1.0)
            server.wrong = None
            assert (await store.read(LOOKUPS, AS_OF))[0].found.all()

    asyncio.run(scene())


def test_nobody_listening_is_away_and_somebody_again_is_read():
    async def scene() -> None:
        _, server = filled({1: 10.0, 2: 20.0}, {})
        async with serving(server):
            pass
        async with reading(server) as store:
            with pytest.raises(RonDBAway, match=r"RonDB at 127\.0\.0\.1:\d+ cannot be reached: the store is away"):
                await store.read(LOOKUPS, AS_OF)
            async with serving(server):
                assert (await store.read(LOOKUPS, AS_OF))[0].found.all()
            with pytest.raises(RonDBAway):
                await store.read(LOOKUPS, AS_OF)

    asyncio.run(scene())


def test_a_connection_that_was_closed_meanwhile_is_opened_again_once():
    async def scene() -> None:
        _, server = filled({1: 10.0, 2: 20.0}, {})
        async with serving(server), reading(server) as store:
            await store.read(LOOKUPS, AS_OF)
            server.drop = 1
            assert (await store.read(LOOKUPS, AS_OF))[0].found.all()
            server.drop = 2
            with pytest.raises(RonDBAway, match="closed the connection without an answer"):
                await store.read(LOOKUPS, AS_OF)

    asyncio.run(scene())


def test_connections_are_kept():
    async def scene() -> int:
        _, server = filled({1: 10.0}, {})
        async with serving(server), reading(server) as store:
            for _ in range(10):
                await store.read(LOOKUPS, AS_OF)
        return server.connections

    assert asyncio.run(scene()) == 1


def test_a_key_that_was_replaced_is_asked_for_again():
    keys = iter([KEY, "the-next", "the-next"])

    async def scene() -> int:
        _, server = filled({1: 10.0, 2: 20.0}, {})
        async with serving(server), reading(server, lambda: next(keys)) as store:
            await store.read(LOOKUPS, AS_OF)
            server.key = "the-next"
            assert (await store.read(LOOKUPS, AS_OF))[0].found.all()
            await store.read(LOOKUPS, AS_OF)
            server.key = "another"
            with pytest.raises(AccessRefused):
                await store.read(LOOKUPS, AS_OF)
        return len(server.asked)

    assert asyncio.run(scene()) == 5


def test_one_failed_part_fails_the_read_and_ends_the_others():
    async def scene() -> None:
        _, server = filled({1: 10.0}, {})
        async with serving(server), reading(server, most_entries=1) as store:
            server.wrong = lambda right, raw: None if len(server.asked) > 1 else BAD["500"](right, raw)
            with pytest.raises(RonDBAway, match="said 500"):
                await store.read(LOOKUPS, AS_OF)

    asyncio.run(scene())


def test_readiness_says_what_the_last_check_found():
    async def scene() -> list[str | None]:
        _, server = filled({1: 10.0}, {})
        said = []
        async with serving(server), reading(server) as store:
            said.append(store.readiness([CARDS]))
            await store.check()
            said.append(store.readiness([CARDS]))
            server.wrong = BAD["404"]
            await store.check()
            said.append(store.readiness([CARDS]))
            server.wrong = BAD["500"]
            await store.check()
            said.append(store.readiness([CARDS]))
            store.close()
        return said

    first, second, third, fourth = asyncio.run(scene())
    assert re.fullmatch(r"RonDB at 127\.0\.0\.1:\d+ has not answered yet", first)
    assert second is None
    assert "view shop_tiles_fv version 1 is absent" in third
    assert "said 500" in fourth
    assert (isinstance(third, Unreachable), isinstance(fourth, Unreachable)) == (False, True)

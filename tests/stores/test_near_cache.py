"""The near cache: what is kept, for how long, what is read once for many, and what it counts."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores.near_cache import CacheCounts, Keeping, NearCache
from headrace.stores.online import Lookup, ReadDeadlinePassed, RowsUnread, StoreUnavailable
from tests.stores.scripted import Scripted, ScriptedLoop, later, play
from tests.stores.small import CARDS, SHOPS, keys_of

ROWS = {key: b"row %d" % key for key in range(1, 100)}
KEEPING = Keeping(entries=1_000, fresh_s=1.0, missing_s=0.2, limit_s=60.0)


def cards(*keys: int) -> list[Lookup]:
    return [Lookup(CARDS, keys_of(keys))]


def test_a_row_is_read_again_when_it_is_no_longer_fresh_and_an_absence_sooner():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        wanted = [[b"row 1", b"", b"row 1"]]
        assert await cache.read_packed(cards(1, 0, 1)) == wanted
        assert await cache.read_packed(cards(1, 0, 1)) == wanted
        assert store.asked == [[("cards", [1, 0])]]
        await later(0.5)
        store.rows[0] = b"new"
        assert await cache.read_packed(cards(1, 0)) == [[b"row 1", b"new"]]
        await later(0.5)
        assert await cache.read_packed(cards(1, 0)) == [[b"row 1", b"new"]]
        assert store.asked[1:] == [[("cards", [0])], [("cards", [1])]]
        assert cache.counts == CacheCounts(hits=2 + 1 + 1, missing_hits=1, misses=3 + 1 + 1)
        assert (cache.entries, cache.counts.evicted) == (2, 0)

    play(scene)


def test_groups_have_keys_of_their_own_and_only_what_is_absent_is_asked_for():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        await cache.read_packed([Lookup(SHOPS, keys_of([7]))])
        both = [Lookup(CARDS, keys_of([7, 8])), Lookup(SHOPS, keys_of([7, 9]))]
        assert await cache.read_packed(both) == [[b"row 7", b"row 8"], [b"row 7", b"row 9"]]
        assert store.asked == [[("shops", [7])], [("cards", [7, 8]), ("shops", [9])]]
        await cache.read_packed(cards(5))
        assert store.asked[2:] == [[("cards", [5])]]

    play(scene)


def test_text_keys():
    store = Scripted({"ann": b"a", "": b"nobody"})
    cache = NearCache(store, KEEPING)
    lookups = [Lookup(CARDS, keys_of(["ann", "", "bob"]))]
    for _ in range(2):
        assert play(lambda _: cache.read_packed(lookups)) == [[b"a", b"nobody", b""]]
    assert store.asked == [[("cards", ["ann", "", "bob"])]]


def test_what_many_want_at_once_is_read_once():
    store = Scripted(dict(ROWS), then=(0.01, None))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        first = asyncio.create_task(cache.read_packed(cards(1, 2)))
        await asyncio.sleep(0)
        others = [cache.read_packed(cards(2, 3)), cache.read_packed(cards(1, 3)), cache.read_packed(cards(3))]
        assert await asyncio.gather(*others) == [[[b"row 2", b"row 3"]], [[b"row 1", b"row 3"]], [[b"row 3"]]]
        assert await first == [[b"row 1", b"row 2"]]
        assert store.asked == [[("cards", [1, 2])], [("cards", [3])]]
        assert cache.counts.coalesced == 1 + 2 + 1
        assert loop.time() == pytest.approx(0.01)

    play(scene)


def test_a_failure_is_everybodys_and_nothing_is_kept_of_it():
    store = Scripted(dict(ROWS), steps=[(0.01, StoreUnavailable("away"))])

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        said = await asyncio.gather(*(cache.read_packed(cards(1)) for _ in range(3)), return_exceptions=True)
        assert [(type(one), str(one)) for one in said] == [(StoreUnavailable, "away")] * 3
        assert len(store.asked) == 1
        assert cache.entries == 0
        assert await cache.read_packed(cards(1)) == [[b"row 1"]]

    play(scene)


def test_anothers_deadline_is_not_mine():
    store = Scripted(dict(ROWS), steps=[(0.01, ReadDeadlinePassed("late"))], then=(0.02, None))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        hasty = asyncio.create_task(cache.read_packed(cards(1), 0.01))
        await asyncio.sleep(0)
        patient = asyncio.create_task(cache.read_packed(cards(1), 1.0))
        with pytest.raises(ReadDeadlinePassed):
            await hasty
        assert await patient == [[b"row 1"]]
        assert loop.time() == pytest.approx(0.03)

    play(scene)


def test_a_row_of_anothers_that_cannot_be_read_is_not_mine():
    store = Scripted(dict(ROWS), steps=[(0.01, RowsUnread("1 of 2 vectors"))])

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        first = asyncio.create_task(cache.read_packed(cards(1, 2)))
        await asyncio.sleep(0)
        assert await cache.read_packed(cards(1)) == [[b"row 1"]]
        with pytest.raises(RowsUnread):
            await first

    play(scene)


def test_my_deadline_ends_my_waiting_for_anothers_read_and_leaves_it_be():
    store = Scripted(dict(ROWS), then=(0.5, None))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        patient = asyncio.create_task(cache.read_packed(cards(1), 1.0))
        await asyncio.sleep(0)
        with pytest.raises(ReadDeadlinePassed, match="the store gave no answer before the read's deadline"):
            await cache.read_packed(cards(1), 0.1)
        assert loop.time() == pytest.approx(0.1)
        assert await patient == [[b"row 1"]]

    play(scene)


def test_a_caller_who_goes_away_takes_nothing_from_the_others():
    store = Scripted(dict(ROWS), then=(0.5, None))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        first = asyncio.create_task(cache.read_packed(cards(1)))
        await asyncio.sleep(0)
        second = asyncio.create_task(cache.read_packed(cards(1)))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [[b"row 1"]]
        assert len(store.asked) == 1

    play(scene)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), max_size=60), st.integers(0, 8), st.booleans())
def test_a_cache_answers_as_its_store_did_at_most_so_long_ago_and_stays_within_its_bounds(visits, entries, by_size):
    """Against a store whose every row says when it was read."""

    async def scene(loop: ScriptedLoop) -> None:
        class Telling(Scripted):
            async def read_packed(self, lookups, deadline=None):
                self.rows = {key: b"%d" % round(loop.time() * 1e3) for key in range(5, 41)}
                return await super().read_packed(lookups, deadline)

        size = 5 * 250 if by_size else 1 << 20
        cache = NearCache(Telling(), Keeping(entries, size, fresh_s=0.5, missing_s=0.1, limit_s=2.0), clock=loop.time)
        for key, pause_ms in visits:
            await later(pause_ms / 1_000)
            ((row, again),) = await cache.read_packed(cards(key, key))
            assert row == again
            assert (row == b"") is (key < 5)
            now_ms = round(loop.time() * 1e3)
            assert not row or now_ms - 500 <= int(row) <= now_ms
            assert cache.entries <= entries
            assert cache.size <= size
            (kept,), (stale,) = cache.kept(cards(key)[0])
            assert kept in (row, None)
            assert not stale
            for seen in range(41):
                (kept,), (stale,) = cache.kept(cards(seen)[0])
                assert not kept or int(kept) > now_ms - 2_000 - 1
                at_the_edge = bool(kept) and abs(now_ms - 500 - int(kept)) <= 1  # rows say whole milliseconds
                assert not kept or at_the_edge or stale == (int(kept) <= now_ms - 500)
        cache.close()
        assert (cache.entries, cache.size) == (0, 0)

    play(scene)


def test_the_rows_read_longest_ago_make_room_whatever_their_group():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, Keeping(entries=3, fresh_s=10.0), clock=loop.time)
        for group, key in ((CARDS, 1), (SHOPS, 2), (CARDS, 3), (SHOPS, 4)):
            await later(0.1)
            await cache.read_packed([Lookup(group, keys_of([key]))])
        assert [cache.kept(Lookup(CARDS, keys_of([1, 3])))[0], cache.kept(Lookup(SHOPS, keys_of([2, 4])))[0]] == [
            [None, b"row 3"],
            [b"row 2", b"row 4"],
        ]
        assert cache.counts.evicted == 1
        assert await cache.read_packed(cards(*range(10, 20))) == [[b"row %d" % at for at in range(10, 20)]]
        assert cache.entries == 3

    play(scene)


def test_what_is_kept_beyond_its_freshness_is_stale_until_its_hard_limit():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        cache = NearCache(store, KEEPING, clock=loop.time)
        store.then = (0.3, None)  # the age counts from when the read began
        await cache.read_packed(cards(1, 0))
        for at, kept, stale in ((0.5, [b"row 1", b"", None], [False, True, False]), (59.9, None, [True, True, False])):
            await later(at - loop.time())
            found, marks = cache.kept(cards(1, 0, 2)[0])
            assert found == (kept or [b"row 1", b"", None])
            assert marks.tolist() == stale
        await later(60.0 - loop.time())
        found, marks = cache.kept(cards(1, 0, 2)[0])
        assert (found, marks.tolist()) == ([None] * 3, [False] * 3)

    play(scene)


def test_readiness_and_closing_are_the_stores_own():
    store = Scripted(reason="it warms up")
    cache = NearCache(store, KEEPING)
    assert cache.readiness([CARDS]) == "it warms up"
    cache.close()
    assert store.closed
    assert np.array_equal(cache.kept(cards(1)[0])[1], [False])

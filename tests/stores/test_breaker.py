"""A circuit breaker: when it opens, that nobody waits while it is open, and how a store is found again."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stores.breaker import Breaker, Circuit, CircuitOpen, Tolerance
from headrace.stores.deadlines import Bounded
from headrace.stores.online import Lookup, ReadDeadlinePassed, RowsUnread, StoreUnavailable
from tests.stores.scripted import Scripted, ScriptedLoop, later, play
from tests.stores.small import CARDS, keys_of

LOOKUPS = [Lookup(CARDS, keys_of([1]))]
AWAY = (0.0, StoreUnavailable("away"))
GOOD = (0.0, None)
QUICK = Tolerance(calls=4, share=0.5, open_s=0.5)


async def read(breaker: Breaker, deadline: float | None = None) -> str:
    """Read once; say what came of it."""
    try:
        await breaker.read_packed(LOOKUPS, deadline)
    except StoreUnavailable as refused:
        return {CircuitOpen: "refused", StoreUnavailable: "away", ReadDeadlinePassed: "late"}[type(refused)]
    return "good"


def test_it_opens_where_a_share_of_the_last_reads_failed_and_then_nobody_asks_the_store():
    store = Scripted(steps=[GOOD, AWAY, GOOD, AWAY], then=GOOD)

    async def scene(loop: ScriptedLoop) -> list[str]:
        breaker = Breaker(store, QUICK, clock=loop.time)
        said = [await read(breaker) for _ in range(6)]
        assert (breaker.circuit, breaker.opened, breaker.refused) == (Circuit.OPEN, 1, 2)
        with pytest.raises(CircuitOpen, match="failed too often of late and is not asked, needs a moment to come back"):
            await breaker.read_packed(LOOKUPS)
        return said

    assert play(scene) == ["good", "away", "good", "away", "refused", "refused"]
    assert len(store.asked) == 4


def test_rows_that_could_not_be_read_say_nothing_of_the_store():
    store = Scripted(then=(0.0, RowsUnread("1 of 2 vectors")))

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        for _ in range(20):
            with pytest.raises(RowsUnread):
                await breaker.read_packed(LOOKUPS)
        assert breaker.circuit is Circuit.CLOSED

    play(scene)


def test_one_read_tries_the_store_and_the_others_are_refused_until_it_is_known():
    store = Scripted(steps=[AWAY, AWAY, (0.2, None)], then=GOOD)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        assert [await read(breaker) for _ in range(3)] == ["away", "away", "refused"]
        await later(0.5)
        probe = asyncio.create_task(read(breaker))
        await asyncio.sleep(0)
        assert breaker.circuit is Circuit.HALF_OPEN
        assert await read(breaker) == "refused"
        assert await probe == "good"
        assert breaker.circuit is Circuit.CLOSED
        assert await read(breaker) == "good"

    play(scene)


def test_a_store_still_away_is_tried_once_in_a_while():
    store = Scripted(then=AWAY)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        for _ in range(1_000):
            await read(breaker)
            await later(0.01)
        assert breaker.opened == len(store.asked) - 1

    play(scene)
    assert len(store.asked) == 2 + 10 / 0.5 - 1


@given(st.integers(0, 3_000), st.integers(1, 200))
def test_a_store_that_is_back_is_found_within_a_second(away_ms, every_ms):
    store = Scripted(then=AWAY)

    async def scene(loop: ScriptedLoop) -> float:
        breaker = Breaker(store, clock=loop.time)
        loop.call_later(away_ms / 1_000, lambda: setattr(store, "then", GOOD))
        while await read(breaker) != "good":
            await later(every_ms / 1_000)
        assert breaker.circuit is Circuit.CLOSED
        return loop.time()

    assert play(scene) <= away_ms / 1_000 + 0.5 + every_ms / 1_000 + 1e-9


@given(st.lists(st.booleans(), max_size=60))
def test_it_is_open_exactly_where_a_window_of_reads_failed_so_often(failures):
    tolerance = Tolerance(calls=5, share=0.6, open_s=1e9)
    store = Scripted(steps=[AWAY if failed else GOOD for failed in failures])
    windows = [failures[max(0, at - 5) : at] for at in range(1, len(failures) + 1)]
    opens = next((at for at, window in enumerate(windows, 1) if sum(window) >= 3), None)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, tolerance, clock=loop.time)
        for _ in failures:
            await read(breaker)
        assert (breaker.circuit is Circuit.OPEN) is (opens is not None)

    play(scene)
    assert len(store.asked) == (opens or len(failures))


def test_a_caller_in_a_hurry_opens_nothing_and_one_with_patience_does():
    store = Scripted(then=(1.0, None))
    patient = Tolerance(calls=4, share=0.5, open_s=0.5, patience_s=0.02)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(Bounded(store), patient, clock=loop.time)
        for _ in range(10):
            assert await read(breaker, loop.time() + 0.001) == "late"
        assert breaker.circuit is Circuit.CLOSED
        assert [await read(breaker, loop.time() + 0.025) for _ in range(3)] == ["late", "late", "refused"]

    play(scene)


def test_reads_given_up_by_their_callers_after_long_enough_open_it_too():
    store = Scripted(then=(1.0, None))

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        for allowed in (0.005, 0.005, 0.005, 0.02, 0.02):
            assert breaker.circuit is Circuit.CLOSED
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(allowed):
                    await breaker.read_packed(LOOKUPS)
        assert breaker.circuit is Circuit.OPEN

    play(scene)


def test_a_try_that_its_caller_gave_up_says_nothing_and_the_next_read_tries_again():
    store = Scripted(steps=[AWAY, AWAY, (5.0, None)], then=GOOD)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        await read(breaker), await read(breaker)
        await later(0.5)
        probe = asyncio.create_task(breaker.read_packed(LOOKUPS))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert breaker.circuit is Circuit.OPEN
        assert await read(breaker) == "good"
        assert (breaker.circuit, breaker.opened) == (Circuit.CLOSED, 1)

    play(scene)


def test_a_read_that_began_before_the_circuit_changed_is_not_judged():
    store = Scripted(steps=[(2.0, StoreUnavailable("late news")), AWAY, AWAY], then=GOOD)

    async def scene(loop: ScriptedLoop) -> None:
        breaker = Breaker(store, QUICK, clock=loop.time)
        early = asyncio.create_task(read(breaker))
        await asyncio.sleep(0)
        await read(breaker), await read(breaker)
        await later(0.5)
        assert await read(breaker) == "good"
        assert await early == "away"
        assert (breaker.circuit, breaker.opened) == (Circuit.CLOSED, 1)

    play(scene)


def test_readiness_and_closing_are_the_stores_own():
    store = Scripted(reason="it warms up")
    assert Breaker(store).readiness([CARDS]) == "it warms up"
    Breaker(store).close()
    assert store.closed

"""Second reads: when one is made, that the loser is given up, and that no more are made than the budget allows."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stores.hedged import Hedged, Hedging
from headrace.stores.online import Lookup, StoreUnavailable
from tests.stores.scripted import Scripted, ScriptedLoop, Step, play
from tests.stores.small import CARDS, keys_of

LOOKUPS = [Lookup(CARDS, keys_of([1]))]
ROW = [[b"row"]]
FAST: Step = (0.002, None)
AWAY = StoreUnavailable("away")
WARM = 64  # reads after which the tail is known and second reads have been saved up


def after_warm(*steps: Step) -> Scripted:
    """Return a store whose first reads are fast, then follow these steps."""
    return Scripted({1: b"row"}, steps=[FAST] * WARM + list(steps), then=FAST)


async def warmed(store: Scripted, loop: ScriptedLoop) -> Hedged:
    hedged = Hedged(store, clock=loop.time)
    for _ in range(WARM):
        assert await hedged.read_packed(LOOKUPS, 1e9) == ROW
    assert hedged.second == 0
    return hedged


@pytest.mark.parametrize(
    ("first", "second", "takes", "won"),
    [
        (0.0015, None, 0.0015, 0),  # in time: no second read
        (1.0, 0.002, 0.005, 1),  # the second is answered first, at the learnt delay and what it takes
        (0.006, 1.0, 0.006, 0),  # the first is, though late
    ],
)
def test_whoever_answers_first_is_taken_and_the_other_given_up(first, second, takes, won):
    store = after_warm((first, None), *([(second, None)] if second else []))

    async def scene(loop: ScriptedLoop) -> None:
        hedged = await warmed(store, loop)
        began = loop.time()
        assert await hedged.read_packed(LOOKUPS, 1e9) == ROW
        assert loop.time() - began == pytest.approx(takes, abs=1.1e-3)
        await asyncio.sleep(0)
        assert (hedged.second, hedged.won) == (int(second is not None), won)
        assert store.given_up == int(second is not None)
        assert len(asyncio.all_tasks()) == 1

    play(scene)


@pytest.mark.parametrize(
    ("first", "second", "message", "won"),
    [
        ((0.0, AWAY), None, "away", 0),  # at once: a second read would not help
        ((0.006, AWAY), (0.004, None), None, 1),
        ((0.006, None), (0.001, AWAY), None, 0),
        ((0.006, AWAY), (0.009, StoreUnavailable("away too")), "away too", 0),
    ],
)
def test_a_failure_is_told_only_where_no_read_is_left(first, second, message, won):
    store = after_warm(first, *([second] if second else []))

    async def scene(loop: ScriptedLoop) -> None:
        hedged = await warmed(store, loop)
        if message is None:
            assert await hedged.read_packed(LOOKUPS, 1e9) == ROW
        else:
            with pytest.raises(StoreUnavailable, match=f"^{message}$"):
                await hedged.read_packed(LOOKUPS, 1e9)
        assert hedged.won == won

    play(scene)


def test_a_caller_who_goes_away_ends_both():
    store = after_warm((5.0, None), (5.0, None))

    async def scene(loop: ScriptedLoop) -> None:
        hedged = await warmed(store, loop)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await hedged.read_packed(LOOKUPS, 1e9)
        await asyncio.sleep(0)
        assert (hedged.second, store.given_up, len(asyncio.all_tasks())) == (1, 2, 1)

    play(scene)


@given(st.lists(st.integers(1, 100), min_size=100, max_size=400), st.sampled_from([0.01, 0.05, 0.2]))
def test_second_reads_never_exceed_their_share(milliseconds, share):
    store = Scripted({1: b"row"}, steps=[(ms / 1_000, None) for ms in milliseconds], then=FAST)

    async def scene(loop: ScriptedLoop) -> None:
        hedged = Hedged(store, Hedging(quantile=0.5, share=share), clock=loop.time)
        for reads in range(1, 300):
            assert await hedged.read_packed(LOOKUPS, 1e9) == ROW
            assert hedged.second <= share * reads + 1e-9
            assert len(store.asked) == reads + hedged.second

    play(scene)


def test_the_delay_is_the_tail_of_reads_of_about_as_many_keys():
    few, many = LOOKUPS, [Lookup(CARDS, np.arange(500))]

    async def scene(loop: ScriptedLoop) -> None:
        store = Scripted({1: b"row"})
        hedged = Hedged(store, clock=loop.time)
        for at in range(64):
            store.then = ((at % 10 + 1) / 1_000, None)
            await hedged.read_packed(few)
            store.then = (0.1, None)
            await hedged.read_packed(many)
        store.steps, store.then = [(1.0, None)], FAST
        began = loop.time()
        await hedged.read_packed(few)
        assert loop.time() - began == pytest.approx(0.010 + 0.002, abs=1.1e-3)
        store.steps, began = [(1.0, None)], loop.time()
        await hedged.read_packed(many)
        assert loop.time() - began == pytest.approx(0.100 + 0.002, abs=1.1e-3)

    play(scene)


def test_readiness_and_closing_are_the_stores_own():
    store = Scripted(reason="it warms up")
    assert Hedged(store).readiness([CARDS]) == "it warms up"
    Hedged(store).close()
    assert store.closed

"""A read ends at its deadline, neither before nor after."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.stores.deadlines import Bounded
from headrace.stores.online import Lookup, ReadDeadlinePassed, StoreUnavailable
from tests.stores.scripted import Scripted, ScriptedLoop, play
from tests.stores.small import CARDS, keys_of

LOOKUPS = [Lookup(CARDS, keys_of([1]))]
SECONDS = st.integers(1, 1_000).map(lambda ms: ms / 1_000)


@given(SECONDS, SECONDS)
def test_a_read_is_answered_before_its_deadline_or_given_up_at_it(takes, allowed):
    store = Scripted({1: b"row"}, then=(takes, None))

    async def scene(loop: ScriptedLoop) -> float:
        if takes < allowed:
            assert await Bounded(store).read_packed(LOOKUPS, allowed) == [[b"row"]]
        elif takes > allowed:
            with pytest.raises(ReadDeadlinePassed, match="the store gave no answer before the read's deadline"):
                await Bounded(store).read_packed(LOOKUPS, allowed)
        return loop.time()

    if takes != allowed:
        assert play(scene) == pytest.approx(min(takes, allowed))
        assert (store.answered, store.given_up) == ((1, 0) if takes < allowed else (0, 1))


def test_without_a_deadline_it_is_awaited():
    store = Scripted({1: b"row"}, then=(3_600.0, None))
    assert play(lambda _: Bounded(store).read_packed(LOOKUPS)) == [[b"row"]]


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), TimeoutError("the store's own")])
def test_the_stores_own_failures_pass(failure):
    store = Scripted(then=(0.0, failure))

    async def scene(loop: ScriptedLoop) -> None:
        await Bounded(store).read_packed(LOOKUPS, 1.0)

    with pytest.raises(type(failure), match=str(failure)):
        play(scene)


def test_a_caller_who_goes_away_ends_the_read():
    store = Scripted(then=(5.0, None))

    async def scene(loop: ScriptedLoop) -> None:
        reading = asyncio.create_task(Bounded(store).read_packed(LOOKUPS, 10.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    play(scene)
    assert store.given_up == 1


def test_readiness_and_closing_are_the_stores_own():
    store = Scripted(reason="it warms up")
    assert Bounded(store).readiness([CARDS]) == "it warms up"
    Bounded(store).close()
    assert store.closed

"""All layers together: the store's own answers when it is well, and honest ones through a failure and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores.breaker import Circuit, Tolerance
from headrace.stores.hedged import Hedging
from headrace.stores.memory import MemoryStore
from headrace.stores.near_cache import Keeping
from headrace.stores.online import Block, Lookup, StoreUnavailable, blocks_of
from headrace.stores.resilient import Resilience, Resilient, resilient
from tests.stores.scripted import Scripted, ScriptedLoop, later, play, rows_of
from tests.stores.small import CARDS, SHOPS, keys_of, put

GROUPS = (CARDS, SHOPS)
AS_OF = 1_700_000_000_000
KEYS = range(20)
EVERY = Resilience(
    Tolerance(calls=4), Keeping(50, fresh_s=0.1, missing_s=0.1, limit_s=5.0), Hedging(), on_failure="default"
)


def filled() -> dict[int, bytes]:
    """Return rows of both groups, which are laid out alike but in their names, of half of the keys."""
    store = MemoryStore()
    put(store, [(key, AS_OF - 1_000 * key, float(key)) for key in KEYS[::2]])
    return dict(zip(KEYS, rows_of(CARDS, store._read(CARDS, keys_of(list(KEYS)))), strict=True))


ROWS = filled()


def same(one: Block, other: Block) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("values", "found", "age_ms", "exact"))
    return all(np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f") for mine, theirs in pairs)


async def read(store: Resilient, keys: list[int], deadline: float | None = None) -> Block:
    return (await store.read([Lookup(CARDS, keys_of(keys))], np.full(len(keys), AS_OF), deadline))[0]


async def attempt(store: Resilient, keys: list[int], deadline: float) -> Block | None:
    """Read once; None where the read is refused."""
    try:
        return await read(store, keys, deadline)
    except StoreUnavailable:
        return None


def plain(keys: list[int]) -> Block:
    lookup = Lookup(CARDS, keys_of(keys))
    return blocks_of([lookup], [[ROWS[key] for key in keys]], np.full(len(keys), AS_OF))[0]


@pytest.mark.parametrize("how", [Resilience(), EVERY])
def test_a_store_that_is_well_is_answered_bit_by_bit(how):
    async def scene(loop: ScriptedLoop) -> None:
        store = resilient(Scripted(ROWS, then=(0.001, None)), how, GROUPS, clock=loop.time)
        for keys in ([3], [4, 4, 5], list(KEYS)) * 3:
            assert same(await read(store, keys, loop.time() + 0.05), plain(keys))
            await later(0.04)

    play(scene)


Fault = st.tuples(st.sampled_from(["well", "away", "slow", "silent"]), st.integers(1, 40))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(Fault, min_size=1, max_size=8),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=6),
    st.sampled_from(["reject", "stale", "default"]),
    st.booleans(),
)
def test_through_any_faults_no_value_is_wrong_no_read_is_late_and_the_store_is_found_again(faults, keys, word, hedge):
    steps = {
        "well": (0.002, None),
        "away": (0.0, StoreUnavailable("away")),
        "slow": (0.04, None),
        "silent": (1e6, None),
    }

    async def scene(loop: ScriptedLoop) -> None:
        store = Scripted(ROWS)
        keeping = Keeping(50, fresh_s=0.1, missing_s=0.1, limit_s=5.0)
        how = Resilience(Tolerance(calls=4), keeping, Hedging() if hedge else None, on_failure=word)
        front, truth = resilient(store, how, GROUPS, clock=loop.time), plain(keys)
        for fault, reads in [*faults, ("well", 0)]:
            store.then, began = steps[fault], loop.time()
            while reads or fault == "well":
                reads -= reads > 0
                deadline = loop.time() + 0.05
                block = await attempt(front, keys, deadline)
                assert block is not None or word != "default"
                if block is not None:
                    known = ~(np.zeros(len(keys), bool) if block.default is None else block.default)
                    np.testing.assert_array_equal(block.values[known], truth.values[known])
                    assert np.isnan(block.values[~known]).all()
                    if fault == "well" and not reads and block.stale is None and known.all():
                        break
                assert loop.time() <= deadline + 1e-9
                assert fault != "well" or loop.time() - began < 1.0 + 0.07 * 40
                await later(0.02)
        assert front.breaker.circuit is Circuit.CLOSED

    play(scene)


def test_a_store_that_is_dead_is_not_waited_for():
    async def scene(loop: ScriptedLoop) -> None:
        store = Scripted(then=(1e6, None))
        front = resilient(store, Resilience(Tolerance(calls=4), on_failure="default"), GROUPS, clock=loop.time)
        took = []
        for _ in range(10):
            began = loop.time()
            assert (await read(front, [1], began + 0.05)).default.all()
            took.append(loop.time() - began)
        assert took == pytest.approx([0.025, 0.025, *[0.0] * 8])
        assert len(store.asked) == 2

    play(scene)


def test_what_is_kept_needs_no_store_even_where_it_is_not_asked():
    async def scene(loop: ScriptedLoop) -> None:
        store = Scripted(ROWS)
        how = Resilience(Tolerance(calls=2, open_s=1e9), Keeping(50, fresh_s=100.0))
        front = resilient(store, how, GROUPS, clock=loop.time)
        await read(front, [1, 2])
        store.then = (0.0, StoreUnavailable("away"))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await read(front, [3])
        assert front.breaker.circuit is Circuit.OPEN
        assert same(await read(front, [2, 1]), plain([2, 1]))

    play(scene)


def test_stale_rows_need_a_cache():
    for how in (Resilience(on_failure="shops=stale"), Resilience(keeping=Keeping(0), on_failure="stale")):
        with pytest.raises(ValueError, match="which needs rows that are kept: set cache_entries above 0"):
            resilient(Scripted(), how, GROUPS)


def test_readiness_and_closing_reach_the_store():
    store = Scripted(reason="it warms up")
    front = resilient(store, EVERY, GROUPS)
    assert front.readiness(GROUPS) == "it warms up"
    front.close()
    assert store.closed

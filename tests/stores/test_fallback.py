"""What is answered when the store fails: refusal, rows kept within their limit, or the declared default."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import WindowedGroup
from headrace.stores.deadlines import Bounded
from headrace.stores.fallback import Fallback, policies
from headrace.stores.memory import MemoryStore
from headrace.stores.near_cache import Keeping, NearCache
from headrace.stores.online import Block, Lookup, ReadDeadlinePassed, RowsUnread, StoreUnavailable, Unreachable
from tests.stores.scripted import Scripted, ScriptedLoop, later, play, rows_of
from tests.stores.small import CARDS, COUNT, SHOPS, SUM, keys_of, put

AWAY = StoreUnavailable("away")
AS_OF = 1_700_000_000_000


def packed(key: int) -> bytes:
    """Return the row of a key that paid once, its own number, a minute ago."""
    store = MemoryStore()
    put(store, [(key, AS_OF - 60_000, float(key))])
    return rows_of(CARDS, store._read(CARDS, keys_of([key])))[0]


ROWS = {key: packed(key) for key in (1, 2, 3)}
BOTH = {"cards": "reject", "shops": "default"}


def of(group: WindowedGroup, *keys: int) -> Lookup:
    return Lookup(group, keys_of(keys))


async def read(store: Fallback, *lookups: Lookup, deadline: float | None = None) -> list[Block]:
    return await store.read(lookups, np.full(lookups[0].keys.size, AS_OF), deadline)


def cached(store: Scripted, policy: dict[str, str], loop: ScriptedLoop) -> Fallback:
    cache = NearCache(store, Keeping(100, fresh_s=1.0, missing_s=1.0, limit_s=10.0), clock=loop.time)
    return Fallback(cache, policy, cache)


def test_a_store_that_answers_is_left_alone():
    (block,) = play(lambda _: read(Fallback(Scripted(ROWS), {"cards": "default"}), of(CARDS, 1, 9)))
    assert (block.stale, block.default) == (None, None)
    assert block.values[:, SUM].tolist() == [1, 0]
    assert block.found.tolist() == [True, False]
    assert block.age_ms[0] == 60_000


def test_reject_refuses_as_the_store_did():
    store = Fallback(Scripted(then=(0.0, AWAY)), {"cards": "reject"})
    with pytest.raises(StoreUnavailable, match=r"^away$"):
        play(lambda _: read(store, of(CARDS, 1)))


class Unreading(Scripted):
    """Cannot read a key, and says so of every read it is in."""

    async def read_packed(self, lookups, deadline=None):
        found = await super().read_packed(lookups, deadline)
        if any(9 in wanted.keys for wanted in lookups):
            raise RowsUnread("1 vector could not be read")
        return found


@pytest.mark.parametrize("place", [0, 7, 15])
def test_a_row_that_cannot_be_read_is_answered_for_and_its_neighbours_are_not(place):
    keys = [1 + at % 3 for at in range(16)]
    keys[place] = 9
    (block,) = play(lambda _: read(Fallback(Unreading(ROWS), {"cards": "default"}), of(CARDS, *keys)))
    assert np.flatnonzero(block.default).tolist() == [place]
    assert np.isnan(block.values[place]).all()
    assert [block.values[at, SUM] for at in range(16) if at != place] == [keys[at] for at in range(16) if at != place]
    assert block.found.sum() == 15


def test_where_nothing_is_answered_for_a_row_that_cannot_be_read_is_for_the_caller_to_find():
    store = Unreading(ROWS)
    with pytest.raises(RowsUnread):
        play(lambda _: read(Fallback(store, {"cards": "reject"}), of(CARDS, 1, 9)))


def test_default_makes_every_column_missing_and_marks_the_rows():
    store = Fallback(Scripted(then=(0.0, AWAY)), {"cards": "default"})
    (block,) = play(lambda _: read(store, of(CARDS, 1, 2)))
    assert np.isnan(block.values).all()
    assert np.isnan(block.age_ms).all()
    assert (block.found.tolist(), block.exact.tolist()) == ([False, False], [True, True])
    assert (block.default.tolist(), block.stale) == ([True, True], None)


@pytest.mark.parametrize("policy", ["stale", "default"])
def test_kept_rows_answer_within_their_limit_and_no_longer(policy):
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        fallback = cached(store, {"cards": policy}, loop)
        (fresh,) = await read(fallback, of(CARDS, 1, 9))
        store.then = (0.0, AWAY)
        await later(9.9)
        (kept,) = await read(fallback, of(CARDS, 1, 9))
        np.testing.assert_array_equal(kept.values, fresh.values)
        assert (kept.stale.tolist(), kept.default) == ([True, True], None)
        assert kept.found.tolist() == [True, False]
        await later(0.1)
        if policy == "stale":
            with pytest.raises(StoreUnavailable, match=r"^away$"):
                await read(fallback, of(CARDS, 1, 9))
        else:
            (gone,) = await read(fallback, of(CARDS, 1, 9))
            assert (gone.stale, gone.default.tolist()) == (None, [True, True])
            assert np.isnan(gone.values).all()

    play(scene)


def test_one_row_that_is_not_kept_does_not_fail_its_neighbours():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        fallback = cached(store, {"cards": "default"}, loop)
        await read(fallback, of(CARDS, 1))
        await later(5.0)
        await read(fallback, of(CARDS, 2))
        store.then = (0.0, AWAY)
        (block,) = await read(fallback, of(CARDS, 1, 2, 3))
        assert block.stale.tolist() == [True, False, False]
        assert block.default.tolist() == [False, False, True]
        assert block.values[:2, COUNT].tolist() == [1, 1]
        assert np.isnan(block.values[2]).all()

    play(scene)


def test_every_group_has_its_own_word():
    store = Scripted(dict(ROWS))

    async def scene(loop: ScriptedLoop) -> None:
        fallback = cached(store, BOTH, loop)
        await read(fallback, of(CARDS, 1))
        store.then = (0.0, AWAY)
        cards, shops = await read(fallback, of(CARDS, 1), of(SHOPS, 1))  # the card is fresh: nothing is missing of it
        assert (cards.stale, cards.default, cards.found.tolist()) == (None, None, [True])
        assert shops.default.tolist() == [True]
        await later(1.0)
        with pytest.raises(StoreUnavailable, match=r"^away$"):
            await read(fallback, of(CARDS, 1), of(SHOPS, 1))

    play(scene)


@given(st.integers(1, 100), st.integers(2, 200))
def test_with_a_fallback_half_of_the_time_is_left_for_the_rest(takes_ms, allowed_ms):
    store = Scripted(dict(ROWS), then=(takes_ms / 1e3, None))

    async def scene(loop: ScriptedLoop) -> None:
        fallback = Fallback(Bounded(store), {"cards": "default"})
        (block,) = await read(fallback, of(CARDS, 1), deadline=allowed_ms / 1e3)
        assert loop.time() == pytest.approx(min(takes_ms, allowed_ms / 2) / 1e3)
        assert (block.default is None) is bool(block.found[0])

    if takes_ms * 2 != allowed_ms:
        play(scene)


@pytest.mark.parametrize(
    ("timeout_s", "deadline", "kind", "at", "message"),
    [
        (None, 0.05, ReadDeadlinePassed, 0.05, "the store gave no answer before the read's deadline"),
        (0.1, 0.05, ReadDeadlinePassed, 0.05, "the store gave no answer before the read's deadline"),
        (0.02, 0.05, StoreUnavailable, 0.02, "the store gave no answer in the time a read may take"),
        (0.02, None, StoreUnavailable, 0.02, "the store gave no answer in the time a read may take"),
    ],
)
def test_a_read_that_is_late_is_told_from_one_that_is_slow(timeout_s, deadline, kind, at, message):
    async def scene(loop: ScriptedLoop) -> None:
        fallback = Fallback(Bounded(Scripted(then=(9.0, None))), {"cards": "reject"}, timeout_s=timeout_s)
        with pytest.raises(StoreUnavailable, match=message) as refused:
            await read(fallback, of(CARDS, 1), deadline=deadline)
        assert type(refused.value) is kind
        assert loop.time() == pytest.approx(at)

    play(scene)


def test_once_ready_a_store_that_cannot_be_reached_matters_no_more_where_all_is_answered_for():
    store = Scripted(reason=Unreachable("no connection"))
    some, both = Fallback(store, BOTH), Fallback(store, dict.fromkeys(BOTH, "default"))
    assert both.readiness([CARDS, SHOPS]) == "no connection"  # never seen: it may hold anything
    store.reason = None
    assert (both.readiness([CARDS, SHOPS]), some.readiness([CARDS, SHOPS])) == (None, None)
    store.reason = Unreachable("no connection")
    assert both.readiness([CARDS, SHOPS]) is None
    assert some.readiness([CARDS, SHOPS]) == "no connection"
    store.reason = "the store holds group 'cards' under another declaration"
    assert both.readiness([CARDS, SHOPS]) == store.reason
    both.close()
    assert store.closed


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("", {"cards": "reject", "shops": "reject"}),
        ("default", {"cards": "default", "shops": "default"}),
        ("stale, shops=reject", {"cards": "stale", "shops": "reject"}),
        ("shops = default", BOTH),
    ],
)
def test_policies_are_read(said, wanted):
    assert policies(said, ["cards", "shops"]) == wanted


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("defalt", "on_store_failure says 'defalt', needs one of reject, stale, default; did you mean 'default'?"),
        ("cards=", "on_store_failure says '', needs one of reject, stale, default"),
        ("shop=stale", "on_store_failure names group 'shop', needs one of cards, shops; did you mean 'shops'?"),
    ],
)
def test_policies_that_mean_nothing(said, message):
    with pytest.raises(ValueError) as refused:
        policies(said, ["cards", "shops"])
    assert str(refused.value) == message

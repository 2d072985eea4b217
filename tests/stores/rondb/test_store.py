"""What the reader of RonDB gives is what a store in memory gives; keys and vectors never shift."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores.memory import MemoryStore
from headrace.stores.online import Block, Lookup
from headrace.stores.packed import packing_of
from headrace.stores.rondb.client import Address, RonDBClient
from headrace.stores.rondb.errors import ViewAbsent
from headrace.stores.rondb.store import RonDBStore
from tests.stores.rondb.server import VIEW, Server, reading, serving
from tests.stores.small import CARDS, COUNT, SHOPS, SUM, declared, keys_of, put

AS_OF = 60_000
FIELDS = ("values", "found", "age_ms", "exact")


def filled(cards: dict[Any, float], shops: dict[Any, float]) -> tuple[MemoryStore, Server]:
    """Return a store in memory, and a server with the same rows: one event of each key, of this amount."""
    store, server = MemoryStore(), Server()
    for group, name, amounts in ((CARDS, "card", cards), (SHOPS, "shop", shops)):
        if not amounts:
            continue
        put(store, [(key, 1_000 + at, amount) for at, (key, amount) in enumerate(amounts.items())], group)
        rows = packing_of(group).encode(store._read(group, keys_of(list(amounts))))
        server.rows[name] = dict(zip(amounts, map(bytes, rows), strict=True))
    return store, server


def asked(cards: list[Any], shops: list[Any]) -> list[Lookup]:
    """Return a request's lookups."""
    return [Lookup(CARDS, keys_of(cards)), Lookup(SHOPS, keys_of(shops))]


async def both(store: MemoryStore, server: Server, lookups: list[Lookup], **limits: Any) -> list[list[Block]]:
    """Return what memory and RonDB give."""
    as_of = np.full(lookups[0].keys.size, AS_OF)
    async with serving(server), reading(server, **limits) as remote:
        return [await store.read(lookups, as_of), await remote.read(lookups, as_of)]


def assert_alike(expected: list[Block], found: list[Block]) -> None:
    """Fail where two reads differ in a bit."""
    for one, other in zip(expected, found, strict=True):
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


KEYS = st.integers(-3, 12)
HELD = st.dictionaries(KEYS, st.integers(1, 99).map(float), max_size=8)
ROWS = st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=30)


@given(cards=HELD, shops=HELD, rows=ROWS, most=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_what_is_read_is_what_memory_holds(cards, shops, rows, most):
    store, server = filled(cards, shops)
    lookups = asked([card for card, _ in rows], [shop for _, shop in rows])
    assert_alike(*asyncio.run(both(store, server, lookups, most_entries=most)))


@pytest.mark.parametrize("cards", [[0, 7], ["", "ö"]], ids=["whole numbers", "text"])
def test_a_falsy_key_is_a_key(cards):
    store, server = filled(dict.fromkeys(cards, 5.0), {0: 3.0})
    expected, found = asyncio.run(both(store, server, asked([cards[0], cards[1]], [0, 0])))
    assert_alike(expected, found)
    assert found[0].found.all()
    assert server.asked[0]["entries"][0] == {"card": cards[0], "shop": 0}


def test_a_missing_row_shifts_nobody():
    store, server = filled({1: 10.0, 3: 30.0, 4: 40.0}, {2: 7.0})
    _, (cards, shops) = asyncio.run(both(store, server, asked([1, 2, 3, 4], [1, 2, 3, 2])))
    assert cards.found.tolist() == [True, False, True, True]
    assert cards.values[:, SUM].tolist() == [10, 0, 30, 40]
    assert shops.values[:, SUM].tolist() == [0, 7, 0, 7]
    assert shops.values[:, COUNT].tolist() == [0, 1, 0, 1]


def test_each_key_is_asked_for_once_and_all_of_them_in_one_call():
    _, server = filled({1: 10.0}, {1: 10.0, 2: 20.0, 3: 30.0})
    asyncio.run(both(MemoryStore(), server, asked([1, 1, 1, 1], [1, 2, 3, 2])))
    assert [call["entries"] for call in server.asked] == [[{"card": 1, "shop": 1}, {"shop": 2}, {"shop": 3}]]
    head = server.asked[0]
    assert (head["featureStoreName"], head["featureViewName"], head["featureViewVersion"]) == ("shop", VIEW.name, 1)


def test_many_keys_are_read_in_several_calls_of_like_size():
    store, server = filled({key: float(key) for key in range(1, 1_001)}, {})
    expected, found = asyncio.run(both(store, server, asked(list(range(1_001)), [7] * 1_001)))
    assert_alike(expected, found)
    assert sorted(len(call["entries"]) for call in server.asked) == [333, 334, 334]


def test_text_that_is_too_long_for_a_key_is_nobodys_and_is_not_asked_for():
    _, server = filled({}, {})
    row = b"a row"
    server.rows["card"] = {"ann": row, "k" * 200: row}
    view = replace(VIEW, columns=(replace(VIEW.columns[0], textual=True), VIEW.columns[1]))

    async def scene():
        client = RonDBClient(Address("127.0.0.1", server.port), lambda: server.key)
        store = RonDBStore(view, client)
        keys = ["k" * 201, "ann", "k" * 200, "é" * 201, "ann"]
        found = await store.read_packed([Lookup(CARDS, keys_of(keys))])
        nobody = await store.read_packed([Lookup(CARDS, keys_of(["k" * 201]))])
        store.close()
        return found, nobody

    async def served():
        async with serving(server):
            return await scene()

    assert asyncio.run(served()) == ([[b"", row, row, b"", row]], [[b""]])
    assert [entry["card"] for entry in server.asked[0]["entries"]] == ["ann", "k" * 200]
    assert len(server.asked) == 1


def test_no_keys_are_answered_without_a_call():
    store, server = filled({1: 1.0}, {})
    assert_alike(*asyncio.run(both(store, server, asked([], []))))
    assert not server.asked


def test_one_group_alone_and_one_group_twice():
    store, server = filled({1: 10.0, 2: 20.0}, {})
    lookups = [Lookup(CARDS, keys_of([1, 2])), Lookup(CARDS, keys_of([2, 9]))]
    assert_alike(*asyncio.run(both(store, server, lookups)))
    assert_alike(*asyncio.run(both(store, server, lookups[:1])))


def test_a_row_of_another_layout_is_missing():
    _, server = filled({1: 10.0}, {})
    other = declared(tiles=6)
    server.rows["card"] |= {2: bytes(other.layout.size), 3: b"neither", 4: bytes(CARDS.layout.size)}
    _, (cards, _) = asyncio.run(both(MemoryStore(), server, asked([1, 2, 3, 4], [1, 1, 1, 1])))
    assert cards.found.tolist() == [True, False, False, False]
    assert cards.values[:, COUNT].tolist() == [1, 0, 0, 0]


def test_a_group_that_the_view_does_not_serve_is_named():
    _, server = filled({}, {})
    lookups = [Lookup(declared("tills"), keys_of([1]))]
    with pytest.raises(ViewAbsent) as refused:
        asyncio.run(both(MemoryStore(), server, lookups))
    said = "view shop_tiles_fv version 1 serves cards, shops, needs 'tills': run headrace hopsworks apply shop"
    assert str(refused.value) == said
    assert VIEW.unserved([declared("tills")]) == said
    assert VIEW.unserved([CARDS, SHOPS]) is None
    assert "needs 'cards'" in VIEW.unserved([declared(version=2)])

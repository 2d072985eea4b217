"""Another process with a store: run as `python -m tests.contracts.reader COMMAND PATH [LAST]`.

`watch` reads every card and shop until each has LAST events, and fails where a read shows a
state that no commit left behind; `hold` begins a read and waits to be killed in it.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Block, Lookup, StoreUnavailable
from tests.stores.small import CARDS, COUNT, SHOPS, SUM, keys_of

KEYS = 40
AS_OF = 3_000_000


async def both(store: EmbeddedStore) -> tuple[Block, Block]:
    """Read every card and every shop in one read."""
    keys = keys_of(range(KEYS))
    cards, shops = await store.read([Lookup(CARDS, keys), Lookup(SHOPS, keys)], np.full(KEYS, AS_OF))
    return cards, shops


def seen(store: EmbeddedStore) -> int:
    """Return how many events every key has; fails where two keys, groups or columns do not agree."""
    cards, shops = asyncio.run(both(store))
    counts = np.concatenate([cards.values[:, COUNT], shops.values[:, COUNT]])
    assert np.unique(counts).size == 1, f"one read saw keys after {np.unique(counts)} commits"
    # The writer's n-th event of every key has amount n: a sum of other events is a torn record.
    count = int(counts[0])
    assert (cards.values[:, SUM] == count * (count + 1) / 2).all()
    assert (shops.values[:, SUM] == count * (count + 1) / 2).all()
    return count


def watch(store: EmbeddedStore, last: int) -> None:
    """Read until the writer has committed its last event; say how often, and how many states were seen."""
    reads, states, count = 0, 0, 0
    while count < last:
        before, count = count, seen(store)
        assert count >= before, f"saw {count} commits after {before}"
        reads, states = reads + 1, states + (count > before)
    print(reads, states, store.readiness([CARDS, SHOPS]))


def hold(store: EmbeddedStore) -> None:
    """Stay inside a read."""
    with store.files.begin():
        print("reading", flush=True)
        sys.stdin.read()


def opened(path: str) -> EmbeddedStore:
    """Return the store once its writer has made it."""
    store = EmbeddedStore(path, readonly=True)
    while True:
        try:
            store.declared()
        except StoreUnavailable:
            continue
        return store


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    if command == "watch":
        print("watching", flush=True)
        watch(opened(path), int(rest[0]))
    else:
        hold(opened(path))

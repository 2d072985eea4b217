"""A store that is opened late: not ready with a reason, opened again after it failed, closed in any state."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from headrace.stores.late import LateStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Lookup, StoreUnavailable
from tests.stores.small import CARDS, SUM, keys_of, put

LOOKUPS = [Lookup(CARDS, keys_of([1]))]


def filled() -> MemoryStore:
    """Return a store that holds a key."""
    store = MemoryStore()
    put(store, [(1, 1_000, 5.0)])
    return store


def test_it_is_read_when_it_is_open_and_says_that_it_is_not_before():
    may = threading.Event()
    store = LateStore(lambda: may.wait() and filled(), "the cluster")
    assert store.readiness([CARDS]) == "the cluster is being opened"
    with pytest.raises(StoreUnavailable, match="the cluster is being opened"):
        asyncio.run(store.read(LOOKUPS, np.array([5_000])))
    may.set()
    store.wait()
    assert store.readiness([CARDS]) is None
    (cards,) = asyncio.run(store.read(LOOKUPS, np.array([5_000])))
    assert cards.values[0, SUM] == 5


def test_one_that_failed_is_opened_again_a_second_later():
    now, tries = [100.0], []

    def opening() -> MemoryStore:
        tries.append(now[0])
        if len(tries) == 1:
            raise StoreUnavailable("the view is absent: apply it")
        return filled()

    store = LateStore(opening, "the cluster", clock=lambda: now[0])
    store.readiness([CARDS])
    store.wait()
    now[0] += 0.9
    assert store.readiness([CARDS]) == "the view is absent: apply it"
    store.wait()
    assert tries == [100.0]
    now[0] += 0.1
    store.readiness([CARDS])
    store.wait()
    assert store.readiness([CARDS]) is None


def test_one_that_is_closed_while_it_opens_is_closed_when_it_is_open():
    may, closed = threading.Event(), threading.Event()

    class Told(MemoryStore):
        def close(self) -> None:
            closed.set()

    store = LateStore(lambda: may.wait() and Told(), "the cluster")
    store.begin()
    store.close()
    may.set()
    store.wait()
    assert closed.is_set()
    with pytest.raises(StoreUnavailable):
        asyncio.run(store.read_packed(LOOKUPS))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_an_opening_is_a_reason_and_it_is_begun_again_a_second_later():
    now, tries = [100.0], []

    def opening() -> MemoryStore:
        tries.append(now[0])
        return [][0]

    store = LateStore(opening, "the cluster", clock=lambda: now[0])
    for _ in range(3):
        store.readiness([CARDS])
        store.wait()
    assert store.readiness([CARDS]) == "the cluster could not be opened: a fault, which stderr has"
    now[0] += 1.0
    store.readiness([CARDS])
    store.wait()
    assert tries == [100.0, 101.0]

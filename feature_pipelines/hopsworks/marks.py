"""What a store says of its feature groups in Hopsworks: that every record has its row there, or was begun to.

A store that was new when it was first mirrored is whole from the beginning; one that held records is
filled first. Until a store is whole no pipeline mirrors it, and once it is marked none writes to it
without mirroring, since Hopsworks would fall behind unseen. Topics name the feature groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headrace.stores.online import StoreGrew, Transaction, WritableStore

_SOURCE = "hopsworks"
NONE, WHOLE, BEGUN = 0, 1, 2


def marks(store: WritableStore) -> dict[str, int]:
    """Return how each topic is marked: WHOLE or BEGUN; those that are not are left out."""
    return {topic: mark for topic, mark in store.offsets(_SOURCE).items() if mark != NONE}


def mark(store: WritableStore, topics: Iterable[str], how: int) -> None:
    """Mark topics in a transaction of its own."""
    changed(store, lambda change: change.advance(dict.fromkeys(topics, how)))


def changed(store: WritableStore, work: Callable[[Transaction], None]) -> None:
    """Do something in one transaction, again where the store had to grow."""
    while True:
        try:
            with store.transaction(_SOURCE, {}) as change:
                work(change)
            return
        except StoreGrew:
            continue


def refuse_alone(store: WritableStore, *, forget: bool) -> None:
    """Raise ValueError for a marked store that is about to be written without mirroring; or `forget` its marks."""
    if not (marked := marks(store)):
        return
    if not forget:
        raise ValueError(
            "the store is written to Hopsworks too, which would fall behind: needs --hopsworks, or --no-hopsworks "
            "to give that up until `headrace hopsworks fill` is run again"
        )
    mark(store, marked, NONE)

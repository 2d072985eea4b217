"""Two small groups of one stream, and the shortest way to put their events into a store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.features import Window, WindowedGroup, fold
from headrace.stores.online import Block, Lookup, WritableStore

SOURCE = "payments"
Given = tuple[Any, int, float]  # key, instant, amount


def declared(name: str = "cards", key: str = "card", *, version: int = 1, tiles: int = 12) -> WindowedGroup:
    """Return a group of amounts over a minute and an hour."""
    windows = (Window("1m", 60_000, tile_ms=60_000 // tiles), Window("1h", 3_600_000))
    return WindowedGroup(
        name, version, SOURCE, key, "at", "amount", ("count", "sum", "max"), windows, last=("amount",), missing=-1.0
    )


CARDS = declared()
SHOPS = declared("shops", "shop")
COUNT, SUM = CARDS.column_names.index("amount_count_1h"), CARDS.column_names.index("amount_sum_1h")
LAST = CARDS.column_names.index("last_amount")


def keys_of(keys: Sequence[Any]) -> np.ndarray:
    """Return keys as requests carry them: int64, or text as objects."""
    return np.array(keys, dtype=object if any(isinstance(key, str) for key in keys) else np.int64)


def add(change: Any, group: WindowedGroup, events: Sequence[Given]) -> None:
    """Fold events into a group inside a change."""
    keys, row = np.unique(keys_of([key for key, _, _ in events]), return_inverse=True)
    records = change.records(group, keys)
    times, amounts = np.array([at for _, at, _ in events]), np.array([amount for _, _, amount in events])
    fold(group, records, row, {"at": times, "amount": amounts})
    change.write(group, keys, records)


def put(store: WritableStore, events: Sequence[Given], *groups: WindowedGroup) -> None:
    """Commit events to groups (cards unless said otherwise), from where the store stands."""
    groups = groups or (CARDS,)
    store.declare(groups)
    start = {"0": store.offsets(SOURCE).get("0", 0)}
    with store.transaction(SOURCE, start) as change:
        for group in groups:
            add(change, group, events)
        change.advance({"0": start["0"] + len(events)})


def read(store: WritableStore, keys: Sequence[Any], as_of: int, group: WindowedGroup = CARDS) -> Block:
    """Read some keys of one group at one instant."""
    lookup = Lookup(group, keys_of(keys))
    return asyncio.run(store.read([lookup], np.full(len(keys), as_of)))[0]

"""Events into the tiles of a store on this machine, inside one of its transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.features.windows import WindowedGroup, fold
from headrace.stores.online import Transaction


def add(
    change: Transaction, groups: Sequence[WindowedGroup], events: Mapping[str, np.ndarray], count: int
) -> np.ndarray:
    """Add decoded events to every group inside one change; return which were too late for all, bool [count].

    Records are read once per key and batch, folded without a loop over events, and written back; of
    many keys, as many at once as stay in the processor's cache.
    """
    too_late = np.ones(count, dtype=bool)
    for group in groups if count else ():
        keys, row = _distinct(events[group.key])
        at_once = max(1, _CACHED // group.layout.size)
        if keys.size <= 4 * at_once:
            too_late &= _folded(change, group, keys, row, events)
            continue
        own = {name: events[name] for name in {group.time, group.value, *group.last}}
        order = row.argsort(kind="stable")
        starts = np.arange(0, keys.size, at_once)
        for first, part in zip(starts, np.split(order, row[order].searchsorted(starts[1:])), strict=True):
            batch = {name: values[part] for name, values in own.items()}
            too_late[part] &= _folded(change, group, keys[first : first + at_once], row[part] - first, batch)
    return too_late


_CACHED = 2 << 20  # bytes of records
_FEW = 24  # keys that are numbered faster one after another


def _folded(
    change: Transaction, group: WindowedGroup, keys: np.ndarray, row: np.ndarray, events: Mapping[str, np.ndarray]
) -> np.ndarray:
    records = change.records(group, keys)
    late = fold(group, records, row, events)
    change.write(group, keys, records)
    return late


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, and which of them each event has."""
    if keys.size > _FEW:
        return np.unique(keys, return_inverse=True)
    number: dict[object, int] = {}
    row = np.array([number.setdefault(key, len(number)) for key in keys.tolist()])
    return np.array(list(number), dtype=keys.dtype), row

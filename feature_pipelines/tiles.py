"""Events into the tiles of a store on this machine, inside one of its transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.features.singly import FEW
from headrace.features.windows import WindowedGroup, fold
from headrace.stores.online import Transaction


def add(
    change: Transaction, groups: Sequence[WindowedGroup], events: Mapping[str, np.ndarray], count: int
) -> np.ndarray:
    """Add decoded events to every group inside one change; return which were too late for all, bool [count].

    Records are read once per key and batch, folded without a loop over events, and written back.
    """
    too_late = np.ones(count, dtype=bool)
    for group in groups if count else ():
        keys, row = _distinct(events[group.key])
        records = change.records(group, keys)
        too_late &= fold(group, records, row, events)
        change.write(group, keys, records)
    return too_late


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct keys, and which of them each event has."""
    if keys.size > FEW:
        return np.unique(keys, return_inverse=True)
    number: dict[object, int] = {}
    row = np.array([number.setdefault(key, len(number)) for key in keys.tolist()])
    return np.array(list(number), dtype=keys.dtype), row

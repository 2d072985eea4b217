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

    Records are read once per key and batch, folded without a loop over events, and written back.
    """
    too_late = np.ones(count, dtype=bool)
    for group in groups if count else ():
        keys, row = np.unique(events[group.key], return_inverse=True)
        records = change.records(group, keys)
        too_late &= fold(group, records, row, events)
        change.write(group, keys, records)
    return too_late

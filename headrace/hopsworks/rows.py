"""Records as rows of a feature group in Hopsworks.

A row is the key, the newest event's time, every windowed statistic as of just after that event,
and the record itself in `tiles`, byte for byte as the embedded store keeps it. The statistics are
for everybody to read; what is served is read from the tiles, so that a request sees its windows as
of its own instant. Instants are epoch milliseconds; NaN stands for a null.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.features.columns import NO_TIME, some
from headrace.features.windows import WindowedGroup, merge
from headrace.hopsworks.declared import TILES, FeatureGroup
from headrace.stores.packed import packing_of

#: A feature's values of every row: an array [n], NaN for null; of `tiles` a list of bytes.
Rows = Mapping[str, np.ndarray | list[bytes]]


def rows_of(feature_group: FeatureGroup, keys: np.ndarray, records: np.ndarray) -> dict[str, np.ndarray | list[bytes]]:
    """Return every column of a windowed group's rows but those computed on demand, in their declared order.

    `keys` are [n], `records` [n] of the group's layout, each with an event in it; ValueError for one
    without, which has no time, and for a feature group of events.
    """
    group = windowed(feature_group)
    newest = np.ascontiguousarray(records["newest_ms"], dtype=np.int64)
    if some(blank := newest == NO_TIME):
        raise ValueError(
            f"{np.count_nonzero(blank)} records of group {group.name!r} hold no event, "
            "a row needs the time of one: leave them out"
        )
    key, time, *names = (feature.name for feature in feature_group.features)
    values = merge(group, records, newest + 1)
    columns: dict[str, np.ndarray | list[bytes]] = {key: keys, time: newest}
    columns |= {name: values[:, at] for at, name in enumerate(names[: names.index(TILES)])}
    columns[TILES] = list(map(bytes, packing_of(group).encode(records)))
    return columns


def windowed(feature_group: FeatureGroup) -> WindowedGroup:
    """Return the windowed group of a feature group; ValueError where it is of a stream's events."""
    if not isinstance(feature_group.of, WindowedGroup):
        raise ValueError(
            f"feature group {feature_group.name!r} is of the events of {feature_group.of.name!r}, "
            "rows of records need that of a windowed group"
        )
    return feature_group.of

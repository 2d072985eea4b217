"""What each window makes of a key's tiles, as plain data: for those who ask why a feature has its value.

The values are those of `merge`, and a tile is covered exactly where `merge` counts it. Instants
and lengths are in milliseconds, the former of the epoch, UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.features import aggregates
from headrace.features.windows import NO_TILE, WindowedGroup, merge, seen

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Tile:
    """A tumbling stretch of event time `[start_ms, end_ms)` that is not over, and what the events in it come to.

    `values` are the count and the group's statistics of this tile alone. A tile that is not covered is older
    than the window, or not in it yet.
    """

    start_ms: int
    end_ms: int
    covered: bool
    values: Values


@dataclass(frozen=True, slots=True)
class WindowReading:
    """One window at an instant: it covers event times `[from_ms, to_ms)`, and this is what they come to."""

    label: str
    length_ms: int
    tile_ms: int
    delay_ms: int
    from_ms: int
    to_ms: int
    tiles: tuple[Tile, ...]  # those not over, in order of time; there is none without events
    values: Values


@dataclass(frozen=True, slots=True)
class Reading:
    """All windows of one key at an instant. Without a record of the group's layout nothing is found.

    It is exact where `as_of_ms` is after the key's newest event; else off by up to a tile at the head, and at the
    tail by as much as that event is later.
    """

    group: str
    value: str
    as_of_ms: int
    found: bool
    newest_ms: int | None
    exact: bool
    windows: tuple[WindowReading, ...]
    last: Values

    def as_dict(self) -> dict[str, Any]:
        """Return the reading as JSON can hold it: what is missing is None."""
        return {
            "group": self.group,
            "value": self.value,
            "as_of_ms": self.as_of_ms,
            "found": self.found,
            "newest_ms": self.newest_ms,
            "exact": self.exact,
            "windows": [_window_dict(window) for window in self.windows],
            "last": _nullable(self.last),
        }


def explain(group: WindowedGroup, record: np.ndarray, as_of_ms: int) -> Reading:
    """Read one record, [1] of the group's layout, at an instant and show what it was read from."""
    as_of = np.array([as_of_ms], dtype=np.int64)
    (found,), _, (exact,) = (part.tolist() for part in seen(group, record, as_of))
    if not found:
        record = group.empty(1)
    values = merge(group, record, as_of)[0].tolist()
    width = len(group.windows) * len(group.stats)
    return Reading(
        group=group.name,
        value=group.value,
        as_of_ms=as_of_ms,
        found=found,
        newest_ms=int(record["newest_ms"][0]) if found else None,
        exact=exact,
        windows=_windows(group, record, as_of, values[:width]),
        last=dict(zip(group.last, values[width:], strict=True)),
    )


def _windows(
    group: WindowedGroup, record: np.ndarray, as_of: np.ndarray, values: list[float]
) -> tuple[WindowReading, ...]:
    first, past = (edge[0].tolist() for edge in group.plan.bounds(as_of))
    covered = group.plan.covered(record["tile"], as_of)[0]
    held = np.where(group.plan.over(record["tile"]), NO_TILE, record["tile"])[0]
    summary = {name: record[name][0] for name in group.fields}
    alone = {name: aggregates.finish(name, summary) for name in dict.fromkeys(("count", *group.stats))}
    width, out = len(group.stats), []
    for at, window in enumerate(group.windows):
        slots = slice(int(group.plan.starts[at]), int(group.plan.starts[at]) + window.slots)
        ours = {name: column[slots] for name, column in alone.items()}
        out.append(
            WindowReading(
                window.label,
                window.length_ms,
                window.tile_ms,
                window.delay_ms,
                from_ms=first[at] * window.tile_ms,
                to_ms=past[at] * window.tile_ms if window.delay_ms else int(as_of[0]),
                tiles=_tiles(window.tile_ms, held[slots], covered[slots], ours),
                values=dict(zip(group.stats, values[at * width : (at + 1) * width], strict=True)),
            )
        )
    return tuple(out)


def _tiles(tile_ms: int, index: np.ndarray, covered: np.ndarray, alone: dict[str, np.ndarray]) -> tuple[Tile, ...]:
    return tuple(
        Tile(
            start_ms=int(index[slot]) * tile_ms,
            end_ms=(int(index[slot]) + 1) * tile_ms,
            covered=bool(covered[slot]),
            values={name: float(column[slot]) for name, column in alone.items()},
        )
        for slot in np.argsort(index).tolist()
        if index[slot] != NO_TILE
    )


def _window_dict(window: WindowReading) -> dict[str, Any]:
    tiles = [
        {"start_ms": tile.start_ms, "end_ms": tile.end_ms, "covered": tile.covered, **_nullable(tile.values)}
        for tile in window.tiles
    ]
    return {
        "label": window.label,
        "length_ms": window.length_ms,
        "tile_ms": window.tile_ms,
        "delay_ms": window.delay_ms,
        "from_ms": window.from_ms,
        "to_ms": window.to_ms,
        "values": _nullable(window.values),
        "tiles": tiles,
    }


def _nullable(values: Values) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}

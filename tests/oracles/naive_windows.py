"""Windows from their definition, by loops over raw events: slow, and short enough to be seen correct.

A window of length L with tile T read at `as_of` covers `floor(as_of - L to T) <= t < as_of`; delayed
by D it covers `floor(as_of - D - L to T) <= t < floor(as_of - D to T)`. Nulls are not counted. The last
columns are those of the newest event, whatever its value; of equal times the later arrival is newer.
"""

from __future__ import annotations

import fractions
import math
from dataclasses import dataclass
from typing import NamedTuple


class Event(NamedTuple):
    """One event in order of arrival; `value` is None where it is null."""

    key: int
    at_ms: int
    value: float | None
    place: float | None = None


@dataclass(frozen=True)
class Span:
    """A window's parameters, in milliseconds."""

    length: int
    tile: int
    delay: int = 0

    def covers(self, at_ms: int, as_of: int) -> bool:
        """Tell whether an event at `at_ms` lies in the window read at `as_of`."""
        tail = floor_to(as_of - self.delay - self.length, self.tile)
        head = floor_to(as_of - self.delay, self.tile) if self.delay else as_of
        return tail <= at_ms < head


def floor_to(instant: int, tile: int) -> int:
    """Return the start of the tile an instant lies in."""
    return instant - instant % tile


def covered(events: list[Event], key: int, span: Span, as_of: int) -> list[Event]:
    """Return the counted events of a key in a window, in order of time and then of arrival."""
    mine = []
    for event in events:
        if event.key == key and event.value is not None and span.covers(event.at_ms, as_of):
            mine.append(event)
    return sorted(mine, key=lambda event: event.at_ms)


def statistic(name: str, values: list[float]) -> float:
    """Return a statistic of values in order of time; NaN where undefined. `std` is of a sample.

    The quantile p95 is the least value that at least 95 % of them do not exceed.
    """
    if name == "count":
        return float(len(values))
    if name == "distinct":
        return float(len(set(values)))
    if name == "sum":
        return math.fsum(values)
    if not values:
        return math.nan
    if name[0] == "p":
        return sorted(values)[math.ceil(fractions.Fraction(name[1:]) * len(values) / 100) - 1]
    mean = math.fsum(values) / len(values)
    if name == "std":
        if len(values) < 2:
            return math.nan
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return {"mean": mean, "min": min(values), "max": max(values), "last": values[-1]}[name]


def newest(events: list[Event], key: int, as_of: int) -> Event | None:
    """Return the newest event of a key before `as_of`, of equal times the one that arrived later."""
    found = None
    for event in events:
        if event.key == key and event.at_ms < as_of and (found is None or event.at_ms >= found.at_ms):
            found = event
    return found


def read(events: list[Event], key: int, spans: list[Span], stats: tuple[str, ...], as_of: int) -> list[float]:
    """Return every statistic of every window, window by window."""
    row = []
    for span in spans:
        values = [event.value for event in covered(events, key, span, as_of) if event.value is not None]
        for name in stats:
            row.append(statistic(name, values))
    return row


class Ring(NamedTuple):
    """The tiles of one window of one key: of each slot, the values of the tile that was filled last."""

    slots: int
    tile: dict[int, int]
    values: dict[int, list[float]]


def fold(events: list[Event], spans: list[Span]) -> tuple[dict[int, list[Ring]], list[bool]]:
    """Add events one after another to rings of tiles; return those of each key, and which events were too late."""
    rings: dict[int, list[Ring]] = {}
    too_late = []
    for event in events:
        mine = rings.setdefault(event.key, [Ring(slots(span), {}, {}) for span in spans])
        placed = [put(ring, event.at_ms // span.tile, event.value) for ring, span in zip(mine, spans, strict=True)]
        too_late.append(not any(placed))
    return rings, too_late


def read_folded(events: list[Event], key: int, spans: list[Span], stats: tuple[str, ...], as_of: int) -> list[float]:
    """Return every statistic of every window after all events were folded, at any instant.

    That is what `read` returns, but for events that came too late and those whose tile is over by now.
    """
    row = []
    for span in spans:
        ring, kept = Ring(slots(span), {}, {}), []
        tail = (as_of - span.delay - span.length) // span.tile
        head = (as_of - span.delay) // span.tile if span.delay else -(-as_of // span.tile)
        for event in events:
            tile = event.at_ms // span.tile
            if event.key == key and put(ring, tile, event.value) and tail <= tile < head:
                kept.append(event)
        left = [event for event in kept if not over(ring, event.at_ms // span.tile)]
        values = [event.value for event in sorted(left, key=lambda event: event.at_ms) if event.value is not None]
        row += [statistic(name, values) for name in stats]
    return row


def slots(span: Span) -> int:
    """Return how many tiles a ring keeps: all that a read can cover, and the one being filled."""
    return -(-(span.length + span.delay) // span.tile) + 1


def put(ring: Ring, tile: int, value: float | None) -> bool:
    """Add a value to its tile's slot unless the tile is over; tell whether it was in time."""
    slot = tile % ring.slots
    if over(ring, tile):
        return False
    if value is not None:
        if ring.tile.get(slot) != tile:
            ring.tile[slot], ring.values[slot] = tile, []
        ring.values[slot].append(value)
    return True


def over(ring: Ring, tile: int) -> bool:
    """Tell whether a tile is over: the ring has one that is as many tiles newer as it has slots, or more."""
    return any(held >= tile + ring.slots for held in ring.tile.values())

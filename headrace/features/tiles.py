"""Where the tiles of a group's windows lie in its records.

Each window has a ring of slots, and all rings lie one after another. A field of a record
holds one value per slot: the index of the tile in it, and what was counted of its events.
A record is a whole number of eight-byte words, so that the tiles of any records, windows
and fields are gathered and scattered at once, by the number of their word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from headrace.features import aggregates
from headrace.features.layout import Layout

#: The index of a tile that was never filled; below that of any instant.
NO_TILE = np.iinfo(np.int64).min
_WORD = 8  # bytes


class Ring(Protocol):
    """What a window says of its tiles; times in milliseconds."""

    @property
    def label(self) -> str: ...
    @property
    def length_ms(self) -> int: ...
    @property
    def delay_ms(self) -> int: ...
    @property
    def tile_ms(self) -> int: ...
    @property
    def slots(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Slots:
    """Where each window's slots lie in a field, resolved once."""

    total: int
    starts: np.ndarray  # [windows] first slot of each window
    window: np.ndarray  # [slots] which window a slot belongs to
    sizes: np.ndarray  # [windows]
    tile_ms: np.ndarray  # [windows]
    tail_ms: np.ndarray  # [windows] delay + length
    delay_ms: np.ndarray  # [windows]
    edge_ms: np.ndarray  # [2 * windows] from an instant to each window's tail, then to each one's head
    edge_tile_ms: np.ndarray  # [2 * windows]
    edge: np.ndarray  # [2 * slots] the tail that a slot's window has, then its head
    lap_ms: int  # no tile of any window is over while no event is later than its own by more
    longest_lap_ms: int  # nor in every window while none is later by more than this

    @classmethod
    def of(cls, windows: Sequence[Ring]) -> Slots:
        """Lay the rings of these windows one after another."""
        sizes = np.array([w.slots for w in windows], dtype=np.int64)
        laps = [(w.slots - 1) * w.tile_ms for w in windows]
        delay = np.array([w.delay_ms for w in windows], dtype=np.int64)
        tile = np.array([w.tile_ms for w in windows], dtype=np.int64)
        tail = np.array([w.length_ms for w in windows], dtype=np.int64) + delay
        window = np.repeat(np.arange(len(windows)), sizes)
        return cls(
            total=int(sizes.sum()),
            starts=np.concatenate(([0], np.cumsum(sizes)[:-1])),
            window=window,
            sizes=sizes,
            tile_ms=tile,
            tail_ms=tail,
            delay_ms=delay,
            # An undelayed head is exact: the tile holding as_of - 1 ms is the last one covered.
            edge_ms=np.concatenate((-tail, np.where(delay > 0, -delay, tile - 1))),
            edge_tile_ms=np.tile(tile, 2),
            edge=np.concatenate((window, window + len(windows))),
            lap_ms=min(laps),
            longest_lap_ms=max(laps),
        )

    def bounds(self, as_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the past-the-last tile index of each window, [n, windows] each."""
        edges = self._edges(as_of)
        return edges[:, : self.sizes.size], edges[:, self.sizes.size :]

    def covered(self, tile: np.ndarray, as_of: np.ndarray) -> np.ndarray:
        """Tell which tiles, by their indices [n, slots], each window covers at its row's instant, bool [n, slots]."""
        edges = self._edges(as_of).take(self.edge, axis=1)
        return (tile >= edges[:, : self.total]) & (tile < edges[:, self.total :]) & ~self.over(tile)

    def over(self, tile: np.ndarray) -> np.ndarray:
        """Tell which tiles are over, by the indices of all that are held; bool [n, slots].

        A tile is over when its window's newest is as many or more tiles on as there are slots.
        """
        return self.front(tile).take(self.window, axis=1) >= tile + self.sizes[self.window]

    def front(self, tile: np.ndarray) -> np.ndarray:
        """Return the newest tile of each window, [n, windows], by the indices of tiles [n, slots]."""
        return np.maximum.reduceat(tile, self.starts, axis=1)

    def _edges(self, as_of: np.ndarray) -> np.ndarray:
        return (as_of[:, None] + self.edge_ms) // self.edge_tile_ms


class Shape(NamedTuple):
    """Where the tiles of a group lie in its records, counted in words, and what its windows are, as plain numbers."""

    fingerprint: int  # the first word of every record of the layout
    newest: int
    last: int
    lasts: int  # how many last columns there are
    rings: np.ndarray  # int64 [windows, 5] the first tile index of each, slots, then tile, tail and delay in ms
    gaps: np.ndarray  # int64 [7] from the word of a tile's index to each of KEPT; 0 where it is not kept
    stats: np.ndarray  # int64 [statistics] the place of each among PLAIN, -1 where it is not there


#: The fields of one word a slot, and the statistics made of them, in the order of their numbers.
KEPT = ("count", "sum", "m2", "min", "max", "last", "last_ms")
COUNT, SUM, M2, MIN, MAX, LAST, LAST_MS = range(len(KEPT))
PLAIN = ("count", "sum", "mean", "std", "min", "max", "last")


@dataclass(frozen=True, slots=True)
class Tiles:
    """The words of a record that tiles lie in, counted from its beginning."""

    slots: Slots
    fields: tuple[str, ...]  # those of one word a slot
    sketches: dict[str, tuple[int, int]]  # the first word of every other field, and how many a slot has
    width: int  # of a whole record
    newest: int
    last: int
    tile: int
    gaps: np.ndarray  # [fields, 1] from the word of a tile's index to those of its fields
    empty: np.ndarray  # int64 [fields, 1] the bits of each field when nothing was counted
    rings: np.ndarray  # [windows, 1] the first tile index of each
    sizes: np.ndarray  # [windows, 1]
    tile_ms: np.ndarray  # [windows, 1]
    gap: dict[str, int]  # the same gaps, by field

    @classmethod
    def of(cls, slots: Slots, fields: tuple[str, ...], layout: Layout) -> Tiles:
        """Find them in the layout of a group."""
        parts = dict(layout.dtype.fields or {})
        word = {name: parts[name][1] // _WORD for name in parts}
        size = {name: np.dtype(aggregates.FIELDS[name][0]).itemsize // _WORD for name in fields}
        sketches = {name: (word[name], size[name]) for name in fields if name in aggregates.SKETCHES}
        fields = tuple(name for name in fields if name not in sketches)
        empty = [np.array(value, dtype).view("<i8") for dtype, value in map(aggregates.FIELDS.__getitem__, fields)]
        gap = {name: word[name] - word["tile"] for name in fields}
        rings = word["tile"] + slots.starts
        return cls(
            slots=slots,
            fields=fields,
            sketches=sketches,
            width=layout.size // _WORD,
            newest=word["newest_ms"],
            last=word.get("last_columns", 0),
            tile=word["tile"],
            gaps=np.array(list(gap.values()))[:, None],
            empty=np.array(empty)[:, None],
            rings=rings[:, None],
            sizes=slots.sizes[:, None],
            tile_ms=slots.tile_ms[:, None],
            gap=gap,
        )

    def front(self, words: np.ndarray) -> np.ndarray:
        """Return the newest tile of each window of records, given as their words: int64 [windows, records]."""
        tile = words.reshape(-1, self.width)[:, self.tile : self.tile + self.slots.total]
        return np.ascontiguousarray(self.slots.front(tile).T)

    def places(self, row: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tile index of each event and the word that it lives in, int64 [windows, n] each."""
        tile = times // self.tile_ms
        place = tile % self.sizes
        place += self.rings
        place += row * self.width
        return tile, place

    def sketch(self, name: str, place: np.ndarray) -> np.ndarray:
        """Return the words of the sketch in the slot whose tile index lies at `place` [n]: int64 [n, words]."""
        first, size = self.sketches[name]
        record = place - place % self.width
        slot = place - record - self.tile
        return (record + first + slot * size)[:, None] + np.arange(size)

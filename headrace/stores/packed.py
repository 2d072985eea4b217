"""Records as they are kept on disk: those of which few slots matter hold these slots alone.

In memory a record is of fixed width, and much of it is blank, or holds tiles that are over. A packed record is, in
words of eight bytes: its layout's fingerprint (changed, so that it is not taken for a whole one), a bitmap of the slots
whose tiles count, one of those whose tile is of a lone event, each window's newest tile, the columns outside the slots,
and the tiles. Which tile a slot holds follows from the window's newest, and of a lone event its value (and when it was,
where the last is kept) says all that its tile does; groups that keep sketches, or counts alone, tell no lone ones. A
record is packed where that is at most half of it. Reading gives back the record, without the tiles that were over:
nobody counts them, and no event is treated otherwise because they are gone.

Rows of the first form held the index of every tile, and every field of each; they are read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from headrace.features.tiles import LAST, MAX, MIN, SUM
from headrace.features.windows import WindowedGroup, merge, seen, words_of
from headrace.stores.packed_form import WORD, Form, Places, numbers_of

_CHANGE, _FIRST_CHANGE = np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x9E3779B97F4A7C15)
_MUCH = 2  # how many times smaller a record must get


@dataclass(frozen=True, slots=True)
class Packing:
    """How records of a group are packed."""

    group: WindowedGroup
    places: Places
    form: Form
    numbers: np.ndarray  # int64, what a loop needs to read records

    def encode(self, records: np.ndarray) -> list[memoryview]:
        """Return the rows to store, whole or packed, of records [n]; a whole one is a view of its record."""
        from headrace.stores.packed_kernels import pack  # compiled: nobody waits for it who packs nothing

        size, records = self.group.layout.size, np.ascontiguousarray(records)
        room = records.size * self.places.most + self.places.widest
        packed, sizes = np.empty(room, np.int64), np.empty(records.size, np.int64)
        pack(self.form, self.places, words_of(self.group, records), packed, sizes)
        whole, short = records.view(np.uint8).data, packed.view(np.uint8).data
        rows, end = [], 0
        for at, words in enumerate(sizes.tolist()):
            begin, end = end, end + words * WORD
            rows.append(short[begin:end] if words else whole[at * size : (at + 1) * size])
        return rows

    def decode(self, rows: Sequence[bytes | memoryview]) -> np.ndarray:
        """Return the records [n] of stored rows; blank where a row is empty, or none of this layout.

        They are a copy, and writable.
        """
        from headrace.stores.packed_kernels import unpack  # see encode

        out = np.empty((len(rows), self.group.layout.size // WORD), np.int64)
        if not unpack(self.form, self.places, *_joined(rows), out):
            unpack(self.form, self.places, *_joined(_whole(rows)), out)
        return out.reshape(-1).view(self.group.layout.dtype)

    def read(
        self, rows: Sequence[bytes | memoryview], as_of: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what `merge` and `seen` of headrace.features.windows tell of the records of stored rows.

        That is values, float64 [n, columns]; found, bool [n]; age_ms, float64 [n]; and exact, bool [n]. Where a row is
        of the first form, or no whole words, all are unpacked first, which takes three times as long.
        """
        group, count = self.group, len(rows)
        if group.tiles.sketches:
            return self._read_whole(rows, as_of)
        from headrace.stores.packed_reading import read  # see encode

        found, exact, age_ms = np.empty(count, bool), np.empty(count, bool), np.empty(count)
        values = np.empty((count, len(group.column_names)))
        if read(self.numbers, *_joined(rows), as_of, values, found, age_ms, exact):
            return values, found, age_ms, exact
        return self._read_whole(rows, as_of)

    def _read_whole(
        self, rows: Sequence[bytes | memoryview], as_of: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        records = self.decode(rows)
        return merge(self.group, records, as_of), *seen(self.group, records, as_of)


def _joined(rows: Sequence[bytes | memoryview]) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of rows one after another, and how many bytes each has; a loop looks whether they are words."""
    joined = b"".join(rows)
    return np.frombuffer(joined, np.int64, len(joined) // WORD), np.fromiter(map(len, rows), np.int64, len(rows))


def _whole(rows: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return the rows; in place of one that is no whole words, an empty one."""
    return [b"" if len(row) % WORD else row for row in rows]


@cache
def prepare() -> None:
    """Load the compiled loops now, not within the first read or write; only a process's first call does anything."""
    from headrace.compiled import load  # see encode

    load("headrace.features.kernels", "headrace.stores.packed_kernels", "headrace.stores.packed_reading")


def _gaps_in(slot: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return the gaps between words of a record as those between the words of a packed slot."""
    at = {int(word - slot[0]): place for place, word in enumerate(slot)}
    return np.array([at[int(gap)] if gap else 0 for gap in gaps], np.int64)


def packing_of(group: WindowedGroup) -> Packing:
    """Return how a group's records are packed; every column of a record is whole words."""
    # To hash a group takes longer than to pack a record of it.
    if (known := _KNOWN.get(id(group))) is None or known.group is not group:
        if len(_KNOWN) >= _MOST_GROUPS:
            _KNOWN.clear()
        known = _KNOWN[id(group)] = _packing_of(group)
    return known


_KNOWN: dict[int, Packing] = {}  # by the group's id, which stays its own as long as it is held here
_MOST_GROUPS = 64


def _packing_of(group: WindowedGroup) -> Packing:
    dtype, slots = group.layout.dtype, group.plan.total
    parts = []
    for name in ("tile", *group.fields):
        of, offset = dtype.fields[name][:2]  # type: ignore[index]
        width = of.itemsize // slots // WORD
        parts.append(offset // WORD + np.arange(slots * width).reshape(slots, width))
    place = np.concatenate(parts, axis=1)
    outside = np.ones(dtype.itemsize // WORD, dtype=bool)
    outside[0], outside[place] = False, False
    head = np.flatnonzero(outside)
    shape, words, bits, step = group.shape, dtype.itemsize // WORD, (slots + 63) // 64, place.shape[1] - 1
    begin = 1 + 2 * bits + len(shape.rings)
    alike = shape.gaps[[SUM, MIN, MAX, LAST]]
    alike = alike[alike != 0]
    lone = 1 + int(shape.gaps[LAST] != 0)
    form = Form(
        fingerprint=shape.fingerprint,
        width=words,
        mark=int((group.layout.fingerprint ^ _CHANGE).view(np.int64)),
        first_mark=int((group.layout.fingerprint ^ _FIRST_CHANGE).view(np.int64)),
        bits=bits,
        begin=begin,
        head=head.size,
        slots=slots,
        step=step,
        lone=lone if alike.size and not group.tiles.sketches else step,
        newest=begin + int(np.searchsorted(head, shape.newest)),
        last=begin + int(np.searchsorted(head, shape.last)) if shape.lasts else 0,
        gaps=_gaps_in(place[0], shape.gaps),
    )
    places = Places(
        most=words // _MUCH,
        widest=begin + head.size + slots * step,
        blank=group.empty(1).view(np.int64),
        head=head,
        place=np.ascontiguousarray(place),
        rings=shape.rings,
        gaps=shape.gaps,
        alike=alike,
    )
    return Packing(group, places, form, numbers_of(shape, form))

"""Records as they are kept on disk: those of which few slots are filled hold these slots alone.

In memory a record is of fixed width, and most of it is blank for a key with few events. A packed
record is its layout's fingerprint (changed, so that it is not taken for a whole one), a bitmap
of the filled slots, the columns outside the slots, and the filled slots, in words of eight
bytes. A record is packed where that is at most a third of it. Reading gives back the very record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.features.windows import NO_TILE, WindowedGroup

WORD = 8
_CHANGE = np.uint64(0x9E3779B97F4A7C15)
_FEW = 16  # rows up to which one after another is faster than all at once
_MUCH = 3  # how many times smaller a record must get
_MOST_BITMAPS = 4096  # kept, at up to a few KB
_WORDS = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the words of a group's records go, resolved once."""

    group: WindowedGroup
    blank: np.ndarray  # the words of a record in which nothing was counted
    head: np.ndarray  # which words lie outside the slots and after the fingerprint
    place: np.ndarray  # [slots, words of a slot] which words belong to a slot
    mark: int  # the first word of a packed record
    _mark: bytes
    _targets: dict[bytes, np.ndarray] = field(default_factory=dict)

    @property
    def _bitmap(self) -> int:
        return -(-self.place.shape[0] // 64)  # words

    def encode(self, records: np.ndarray) -> list[bytes | memoryview]:
        """Return the rows to store, whole or packed, of records [n]; a whole one is a view of its record."""
        size, records = self.group.layout.size, np.ascontiguousarray(records)
        flat, words = records.view(np.uint8).data, records.view(_WORDS).reshape(-1, self.blank.size)
        rows: list[bytes | memoryview] = [flat[at * size : (at + 1) * size] for at in range(len(records))]
        filled = records["tile"] != NO_TILE
        if len(rows) <= _FEW:
            for at, own in enumerate(self.group.layout.known(records).tolist()):
                if own and self._is_short(filled[at]):
                    rows[at] = self._pack(words[at], filled[at])
            return rows
        bits = np.packbits(filled, axis=1, bitorder="little")
        pad = bytes(self._bitmap * WORD - bits.shape[1])
        packed = self._fixed + filled.sum(axis=1) * self.place.shape[1]
        short = np.flatnonzero((_MUCH * packed <= self.blank.size) & self.group.layout.known(records))
        if short.size:
            bitmaps = np.hstack([bits[short], np.zeros((short.size, len(pad)), np.uint8)]).view(_WORDS)
            packs = self._pack_all(words, short, filled[short], bitmaps, packed[short])
            for at, row in zip(short.tolist(), packs, strict=True):
                rows[at] = row
        return rows

    def decode(self, rows: Sequence[bytes | memoryview]) -> np.ndarray:
        """Return the records [n] of stored rows; blank where a row is empty, or not of this layout's width.

        They are a copy, and writable.
        """
        size = self.group.layout.size
        if len(rows) <= _FEW:
            return self._decode_few(rows)
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        whole = sizes == size
        if whole.all():
            return self.group.layout.read(bytearray().join(rows))
        out = np.empty((len(rows), self.blank.size), _WORDS)
        out[:] = self.blank
        for at in np.flatnonzero(whole).tolist():
            out[at] = np.frombuffer(rows[at], _WORDS)
        packed = np.flatnonzero(~whole & (sizes >= self._fixed * WORD) & (sizes % WORD == 0))
        if packed.size:
            self._unpack_all(out, packed, [rows[at] for at in packed.tolist()], sizes[packed] // WORD)
        return out.reshape(-1).view(self.group.layout.dtype)

    def _is_short(self, filled: np.ndarray) -> bool:
        words = self._fixed + int(np.count_nonzero(filled)) * self.place.shape[1]
        return _MUCH * words <= self.blank.size

    def _pack(self, words: np.ndarray, filled: np.ndarray) -> bytes:
        bitmap = np.packbits(filled, bitorder="little").tobytes().ljust(self._bitmap * WORD, b"\0")
        return self._mark + bitmap + words[self.head].tobytes() + words[self.place[filled]].tobytes()

    def _decode_few(self, rows: Sequence[bytes | memoryview]) -> np.ndarray:
        size = self.group.layout.size
        if all(len(row) == size for row in rows):
            return self.group.layout.read(bytearray().join(rows))
        out = np.empty((len(rows), self.blank.size), _WORDS)
        for at, row in enumerate(rows):
            if len(row) == size:
                out[at] = np.frombuffer(row, _WORDS)
                continue
            out[at] = self.blank
            if len(row) >= self._fixed * WORD and len(row) % WORD == 0:
                self._unpack(out[at], row)
        return out.reshape(-1).view(self.group.layout.dtype)

    @property
    def _fixed(self) -> int:
        return 1 + self._bitmap + self.head.size

    def _target(self, bitmap: bytes) -> np.ndarray:
        """Return which words of a record follow this bitmap, in order."""
        found = self._targets.get(bitmap)
        if found is None:
            filled = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=self.place.shape[0], bitorder="little")
            found = np.concatenate([self.head, self.place[np.flatnonzero(filled)].ravel()])
            if len(self._targets) >= _MOST_BITMAPS:
                self._targets.clear()
            self._targets[bitmap] = found
        return found

    def _unpack(self, out: np.ndarray, row: bytes | memoryview) -> None:
        words, begin = np.frombuffer(row, _WORDS), 1 + self._bitmap
        target = self._target(bytes(row[WORD : begin * WORD]))
        if words[0] == self.mark and words.size == begin + target.size:
            out[target] = words[begin:]

    def _pack_all(
        self, words: np.ndarray, at: np.ndarray, filled: np.ndarray, bitmaps: np.ndarray, sizes: np.ndarray
    ) -> list[memoryview]:
        ends = np.cumsum(sizes)
        starts = ends - sizes
        out = np.empty(int(ends[-1]), _WORDS)
        out[starts] = self.mark
        for column in range(self._bitmap):
            out[starts + 1 + column] = bitmaps[:, column]
        for column, word in enumerate(self.head):
            out[starts + 1 + self._bitmap + column] = words[at, word]
        row, slot, first = self._bodies(filled, starts)
        for column in range(self.place.shape[1]):
            out[first + column] = words[at[row], self.place[slot, column]]
        flat = memoryview(out.tobytes())
        return [flat[a * WORD : b * WORD] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _unpack_all(
        self, out: np.ndarray, at: np.ndarray, rows: Sequence[bytes | memoryview], sizes: np.ndarray
    ) -> None:
        words = np.frombuffer(b"".join(rows), _WORDS)
        slots, per = self.place.shape
        heads = (np.cumsum(sizes) - sizes)[:, None] + np.arange(self._fixed)
        begin = words[heads]
        bitmaps = np.ascontiguousarray(begin[:, 1 : 1 + self._bitmap]).view(np.uint8)
        filled = np.unpackbits(bitmaps, axis=1, count=slots, bitorder="little").view(bool)
        row, slot = np.nonzero(filled)
        if (begin[:, 0] != self.mark).any() or (np.bincount(row, minlength=at.size) * per + self._fixed != sizes).any():
            for one, text in zip(at.tolist(), rows, strict=True):  # some are not of this layout: told one by one
                self._unpack(out[one], text)
            return
        body = np.ones(words.size, bool)
        body[heads] = False
        base = at * self.blank.size
        target = out.reshape(-1)
        target[base[:, None] + self.head] = begin[:, 1 + self._bitmap :]
        target[(self.place[slot] + base[row][:, None]).ravel()] = words[body]

    def _bodies(self, filled: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, slot and first word of every filled slot."""
        row, slot = np.nonzero(filled)
        counts = filled.sum(axis=1)
        nth = np.arange(row.size) - (np.cumsum(counts) - counts)[row]
        return row, slot, starts[row] + self._fixed + nth * self.place.shape[1]


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
    places = []
    for name in ("tile", *group.fields):
        of, offset = dtype.fields[name][:2]  # type: ignore[index]
        width = of.itemsize // slots // WORD
        places.append(offset // WORD + np.arange(slots * width).reshape(slots, width))
    place = np.concatenate(places, axis=1)
    outside = np.ones(dtype.itemsize // WORD, dtype=bool)
    outside[0], outside[place] = False, False
    head = np.flatnonzero(outside)
    mark = int((group.layout.fingerprint ^ _CHANGE).view(np.int64))
    return Packing(group, group.empty(1).view(_WORDS), head, place, mark, mark.to_bytes(WORD, "little", signed=True))

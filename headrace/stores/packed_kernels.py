"""The loops that pack records, unpack them and read them, as machine code; what a packed record is, `packed` says."""

from __future__ import annotations

import numpy as np

from headrace.compiled import (
    LONG,
    LONGS,
    OUT_BOOLS,
    OUT_DOUBLES,
    OUT_LONGS,
    OUT_TABLE,
    OUT_WORDS,
    ROWS,
    WORDS,
    compiled,
    tuple_of,
)
from headrace.features.columns import NO_TIME
from headrace.features.kernels import SHAPE, merge_one, merge_window, seen_of, seen_one
from headrace.features.tiles import NO_TILE, Shape
from headrace.stores.packed import Places

_PLACES = tuple_of(Places, LONG, LONG, LONG, LONG, LONG, OUT_LONGS, OUT_LONGS, OUT_LONGS, OUT_WORDS)
_EMPTY = np.int64(NO_TILE)
_NEVER = np.int64(NO_TIME)


@compiled()
def _ones(word: int) -> int:
    """Return how many bits of a word are set, by adding up neighbours."""
    bits = np.uint64(word)
    bits -= bits >> np.uint64(1) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + (bits >> np.uint64(2) & np.uint64(0x3333333333333333))
    bits = bits + (bits >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int(bits * np.uint64(0x0101010101010101) >> np.uint64(56))


@compiled()
def _filled_below(rows: np.ndarray, bitmap: int, slot: int) -> int:
    """Return how many slots before this one are filled, by the bitmap that begins at a word of the rows."""
    filled = 0
    for word in range(slot // 64):
        filled += _ones(rows[bitmap + word])
    if slot % 64:
        filled += _ones(rows[bitmap + slot // 64] & (np.int64(1) << slot % 64) - 1)
    return filled


@compiled()
def _needed(places: Places, rows: np.ndarray, bitmap: int) -> int:
    slots, per = places.place.shape
    return 1 + (slots + 63) // 64 + places.head.size + _filled_below(rows, bitmap, slots) * per


@compiled(_PLACES, WORDS, OUT_LONGS, OUT_LONGS)
def pack(places: Places, records: np.ndarray, out: np.ndarray, sizes: np.ndarray) -> None:
    """Write the packed ones of records, int64 [n, words], one after another into `out`, int64 [n * most].

    `sizes`, int64 [n], becomes how many words each takes; 0 for a record that is to be kept whole.
    """
    slots, per = places.place.shape
    begin = 1 + (slots + 63) // 64
    at = 0
    for row in range(len(records)):
        words = records[row]
        filled = 0
        for slot in range(slots):
            filled += words[places.place[slot, 0]] != _EMPTY
        size = begin + places.head.size + filled * per
        sizes[row] = 0
        if words[0] != places.fingerprint or size > places.most:
            continue
        sizes[row] = size
        out[at] = places.mark
        for word in range(1, begin):
            out[at + word] = 0
        for word in range(places.head.size):
            out[at + begin + word] = words[places.head[word]]
        to = at + begin + places.head.size
        for slot in range(slots):
            if words[places.place[slot, 0]] != _EMPTY:
                out[at + 1 + slot // 64] |= np.int64(1) << (slot % 64)
                for word in range(per):
                    out[to + word] = words[places.place[slot, word]]
                to += per
        at += size


@compiled()
def _is_packed(places: Places, rows: np.ndarray, at: int, size: int) -> bool:
    bitmap = (len(places.place) + 63) // 64
    return size > bitmap and rows[at] == places.mark and size == _needed(places, rows, at + 1)


@compiled()
def _filled(places: Places, rows: np.ndarray, at: int, words: np.ndarray) -> None:
    slots, per = places.place.shape
    source = at + 1 + (slots + 63) // 64
    for word in range(places.head.size):
        words[places.head[word]] = rows[source + word]
    source += places.head.size
    for slot in range(slots):
        if rows[at + 1 + slot // 64] >> (slot % 64) & 1:
            for word in range(per):
                words[places.place[slot, word]] = rows[source + word]
            source += per


@compiled(_PLACES, LONGS, LONGS, OUT_WORDS)
def unpack(places: Places, rows: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> None:
    """Write the records of stored rows to `out`, int64 [n, words]; a blank one for a row that is none of the layout's.

    `rows` is int64, the rows one after another, and `sizes` int64 [n] how many words each has.
    """
    at = 0
    for row in range(len(out)):
        size, words = sizes[row], out[row]
        if size == words.size:
            words[:] = rows[at : at + size]
        else:
            words[:] = places.blank
            if _is_packed(places, rows, at, size):
                _filled(places, rows, at, words)
        at += size


@compiled()
def _merge_packed(
    shape: Shape, places: Places, rows: np.ndarray, floats: np.ndarray, at: int, as_of: int, out: np.ndarray
) -> None:
    """Read every window of the packed record whose words begin at `at`, where it lies; `at` is -1 for no record."""
    slots, per = places.place.shape
    first = at + 1 + (slots + 63) // 64 + places.head.size
    column = begin = 0
    for ring in shape.rings:
        end = begin
        if at >= 0:
            end = _filled_below(rows, at + 1, ring[0] - shape.rings[0, 0] + ring[1])
        here = first + begin * per
        column = merge_window(rows, floats, places.gaps, here, end - begin, per, ring, as_of, shape.stats, out, column)
        begin = end
    for last in range(shape.lasts):
        out[column + last] = floats[at + places.last + last] if at >= 0 else np.nan


@compiled(SHAPE, _PLACES, ROWS, LONGS, LONGS, OUT_TABLE, OUT_BOOLS, OUT_DOUBLES, OUT_BOOLS)
def read(
    shape: Shape,
    places: Places,
    rows: np.ndarray,
    sizes: np.ndarray,
    as_of: np.ndarray,
    values: np.ndarray,
    found: np.ndarray,
    age_ms: np.ndarray,
    exact: np.ndarray,
) -> None:
    """Read every window of stored rows, each at its own instant: what unpack, merge and seen make of them.

    `rows` and `sizes` are as for unpack, the others as for merge and seen. Records are read where they lie.
    """
    floats = rows.view(np.float64)
    at = 0
    for row in range(as_of.size):
        size, when = sizes[row], as_of[row]
        if size == places.blank.size:
            merge_one(shape, rows, floats, at, when, values[row])
            found[row], age_ms[row], exact[row] = seen_one(shape, rows, at, when)
        else:
            packed = _is_packed(places, rows, at, size)
            _merge_packed(shape, places, rows, floats, at if packed else -1, when, values[row])
            newest = rows[at + places.newest] if packed else _NEVER
            found[row], age_ms[row], exact[row] = seen_of(newest, when)
        at += size

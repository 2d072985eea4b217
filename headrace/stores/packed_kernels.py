"""The loops that pack records, unpack them and read them, as machine code; what a packed record is, `packed` says."""

from __future__ import annotations

import numpy as np

from headrace.features.compiled import (
    LONG,
    LONGS,
    OUT_BOOLS,
    OUT_DOUBLES,
    OUT_LONGS,
    OUT_TABLE,
    OUT_WORDS,
    WORDS,
    compiled,
    tuple_of,
)
from headrace.features.kernels import SHAPE, merge_one, seen_one
from headrace.features.tiles import NO_TILE, Shape
from headrace.stores.packed import Places

_PLACES = tuple_of(Places, LONG, LONG, LONG, OUT_LONGS, OUT_LONGS, OUT_WORDS)
_EMPTY = np.int64(NO_TILE)


@compiled()
def _needed(places: Places, rows: np.ndarray, bitmap: int) -> int:
    slots, per = places.place.shape
    filled = 0
    for slot in range(slots):
        filled += rows[bitmap + slot // 64] >> (slot % 64) & 1
    return 1 + (slots + 63) // 64 + places.head.size + filled * per


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


@compiled(SHAPE, _PLACES, LONGS, LONGS, LONGS, OUT_LONGS, OUT_TABLE, OUT_BOOLS, OUT_DOUBLES, OUT_BOOLS)
def read(
    shape: Shape,
    places: Places,
    rows: np.ndarray,
    sizes: np.ndarray,
    as_of: np.ndarray,
    words: np.ndarray,
    values: np.ndarray,
    found: np.ndarray,
    age_ms: np.ndarray,
    exact: np.ndarray,
) -> None:
    """Read every window of stored rows, each at its own instant: what unpack, merge and seen make of them.

    `rows` and `sizes` are as for unpack, the others but `words` as for merge and seen. `words`, int64 [words], holds
    one record at a time, so that records do not travel through memory.
    """
    words[:] = places.blank
    at = 0
    for row in range(as_of.size):
        size, when = sizes[row], as_of[row]
        if size == words.size:
            whole = rows[at : at + size]
            merge_one(shape, whole, when, values[row])
            found[row], age_ms[row], exact[row] = seen_one(shape, whole, when)
        else:
            for slot in range(len(places.place)):  # what else is in an empty slot is not looked at
                words[places.place[slot, 0]] = _EMPTY
            if _is_packed(places, rows, at, size):
                _filled(places, rows, at, words)
            else:
                for word in places.head:
                    words[word] = places.blank[word]
            merge_one(shape, words, when, values[row])
            found[row], age_ms[row], exact[row] = seen_one(shape, words, when)
        at += size

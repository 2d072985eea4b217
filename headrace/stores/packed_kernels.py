"""The loops that pack records, unpack them and read them, as machine code; what a packed record is, `packed` says."""

from __future__ import annotations

import numpy as np

from headrace.compiled import (
    BOOL,
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
    inlined,
    tuple_of,
)
from headrace.features.columns import NO_TIME
from headrace.features.kernels import newest_tile
from headrace.features.merging import edges_of, merge_one, merge_window, put_last, room_of, seen_of
from headrace.features.tiles import NO_TILE, Shape
from headrace.stores.packed import WORD, Form, Places

_PLACES = tuple_of(Places, LONG, LONG, OUT_LONGS, OUT_LONGS, OUT_WORDS, OUT_WORDS)
_FORM = tuple_of(Form, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, OUT_LONGS)
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
def _keep(rings: np.ndarray, words: np.ndarray, kept: np.ndarray) -> int:
    """Mark the slots of a record whose tile is neither blank nor over, and return how many they are."""
    filled = slot = 0
    for ring, slots, _, _, _ in rings:
        front = newest_tile(words, ring, slots, 1)
        for at in range(ring, ring + slots):
            kept[slot] = words[at] != _EMPTY and words[at] + slots > front
            filled += kept[slot]
            slot += 1
    return filled


@compiled(_FORM, _PLACES, WORDS, OUT_LONGS, OUT_LONGS)
def pack(form: Form, places: Places, records: np.ndarray, out: np.ndarray, sizes: np.ndarray) -> None:
    """Write the packed ones of records, int64 [n, words], one after another into `out`, int64 [n * most].

    `sizes`, int64 [n], becomes how many words each takes; 0 for a record that is to be kept whole.
    """
    at, kept = 0, np.empty(form.slots, np.bool_)
    for row in range(len(records)):
        words = records[row]
        filled = _keep(places.rings, words, kept)
        size = form.begin + form.head + filled * form.step
        sizes[row] = 0
        if words[0] != places.fingerprint or size > places.most:
            continue
        sizes[row] = size
        out[at] = form.mark
        for word in range(1, form.begin):
            out[at + word] = 0
        for word in range(form.head):
            out[at + form.begin + word] = words[places.head[word]]
        to = at + form.begin + form.head
        for slot in range(form.slots):
            if kept[slot]:
                out[at + 1 + slot // 64] |= np.int64(1) << (slot % 64)
                for word in range(form.step):
                    out[to + word] = words[places.place[slot, word]]
                to += form.step
        at += size


@compiled()
def _is_packed(form: Form, rows: np.ndarray, at: int, size: int) -> bool:
    if size < form.begin or rows[at] != form.mark:
        return False
    return size == form.begin + form.head + _filled_below(rows, at + 1, form.slots) * form.step


@compiled()
def _filled(form: Form, places: Places, rows: np.ndarray, at: int, words: np.ndarray) -> None:
    source = at + form.begin
    for word in range(form.head):
        words[places.head[word]] = rows[source + word]
    source += form.head
    for slot in range(form.slots):
        if rows[at + 1 + slot // 64] >> (slot % 64) & 1:
            for word in range(form.step):
                words[places.place[slot, word]] = rows[source + word]
            source += form.step


@compiled()
def _are_words(sizes: np.ndarray) -> bool:
    odd = 0
    for row in range(sizes.size):
        odd |= sizes[row] % WORD
    return odd == 0


@compiled(_FORM, _PLACES, LONGS, LONGS, OUT_WORDS, returns=BOOL)
def unpack(form: Form, places: Places, rows: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> bool:
    """Write the records of stored rows to `out`, int64 [n, words]; a blank one for a row that is none of the layout's.

    `rows` is int64, the rows one after another, and `sizes` int64 [n] how many bytes each has. Returns False, and
    writes nothing, where a row is no whole words.
    """
    if not _are_words(sizes):
        return False
    at = 0
    for row in range(len(out)):
        size, words = sizes[row] // WORD, out[row]
        if size == words.size:
            words[:] = rows[at : at + size]
        else:
            words[:] = places.blank
            if _is_packed(form, rows, at, size):
                _filled(form, places, rows, at, words)
        at += size
    return True


@inlined
def _merge_packed(
    shape: Shape,
    form: Form,
    rings: np.ndarray,
    stats: np.ndarray,
    gaps: np.ndarray,
    rows: np.ndarray,
    floats: np.ndarray,
    at: int,
    as_of: int,
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Read every window of the packed record whose words begin at `at`, where it lies; -1 stands for no record.

    Returns the time of its newest event.
    """
    newest = rows[at + form.newest] if at >= 0 else _NEVER
    begin, step = 0, form.step
    for ring in range(len(rings)):
        end = begin
        if at >= 0:
            end = _filled_below(rows, at + 1, rings[ring, 0] - rings[0, 0] + rings[ring, 1])
        first, filled = at + form.begin + form.head + begin * step, end - begin
        merge_window(rings, stats, gaps, ring, rows, floats, first, filled, step, newest, as_of, out, row, room)
        begin = end
    put_last(shape, floats, at + form.last, at >= 0, out, row)
    return int(newest)


@compiled()
def _opened(numbers: np.ndarray) -> tuple[Shape, Form]:
    """Return the two that packed.numbers_of made these of; to hand over both as they are takes longer than a read."""
    windows, stats, gaps = numbers[0], numbers[1], numbers[2]
    at = 3
    fixed = numbers[at : at + 12]
    at += 12
    own, packed, at = numbers[at : at + gaps], numbers[at + gaps : at + 2 * gaps], at + 2 * gaps
    of, rings = numbers[at : at + stats], numbers[at + stats :].reshape(windows, -1)
    shape = Shape(fixed[0], fixed[1], fixed[2], fixed[3], rings, own, of)
    return shape, Form(fixed[4], fixed[5], fixed[6], fixed[7], fixed[8], fixed[9], fixed[10], fixed[11], packed)


@compiled(OUT_LONGS, ROWS, LONGS, LONGS, OUT_TABLE, OUT_BOOLS, OUT_DOUBLES, OUT_BOOLS, returns=BOOL)
def read(
    numbers: np.ndarray,
    rows: np.ndarray,
    sizes: np.ndarray,
    as_of: np.ndarray,
    values: np.ndarray,
    found: np.ndarray,
    age_ms: np.ndarray,
    exact: np.ndarray,
) -> bool:
    """Read every window of stored rows, each at its own instant: what unpack, merge and seen make of them.

    `numbers` are numbers_of the group, `rows` and `sizes` as for unpack, the others as for merge and seen. Records are
    read where they lie. Returns False, and reads nothing, where a row is no whole words.
    """
    if not _are_words(sizes):
        return False
    shape, form = _opened(numbers)
    floats, room, rings, stats = rows.view(np.float64), room_of(shape), shape.rings, shape.stats
    gaps, packed_gaps = shape.gaps, form.gaps
    at = 0
    for row in range(as_of.size):
        size, when = sizes[row] // WORD, as_of[row]
        if not row or when != as_of[row - 1]:
            edges_of(rings, when, room[0])
        if size == form.width:
            newest = merge_one(shape, rings, stats, gaps, rows, floats, at, when, values, row, room)
        else:
            begin = at if _is_packed(form, rows, at, size) else -1
            newest = _merge_packed(shape, form, rings, stats, packed_gaps, rows, floats, begin, when, values, row, room)
        found[row], age_ms[row], exact[row] = seen_of(newest, when)
        at += size
    return True

"""The loops that pack records and unpack them, as machine code; what a packed record is, `packed` says."""

from __future__ import annotations

import numpy as np

from headrace.compiled import BOOL, LONG, LONGS, OUT_LONGS, OUT_WORDS, WORDS, compiled, inlined, tuple_of
from headrace.features.kernels import newest_tile
from headrace.features.tiles import COUNT, LAST_MS, M2, NO_TILE
from headrace.stores.packed_form import WORD, Form, Places

_PLACES = tuple_of(Places, LONG, LONG, OUT_LONGS, OUT_LONGS, OUT_WORDS, OUT_WORDS, OUT_LONGS, OUT_LONGS)
_FORM = tuple_of(Form, *[LONG] * 12, OUT_LONGS)
_EMPTY = np.int64(NO_TILE)


@compiled()
def ones(word: int) -> int:
    """Return how many bits of a word are set, by adding up neighbours."""
    bits = np.uint64(word)
    bits -= bits >> np.uint64(1) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + (bits >> np.uint64(2) & np.uint64(0x3333333333333333))
    bits = bits + (bits >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int(bits * np.uint64(0x0101010101010101) >> np.uint64(56))


@inlined
def low(bits: int) -> int:
    """Return a word of which the first so many bits are set, fewer than 64."""
    return int((np.int64(1) << bits) - 1)


@inlined
def taken_below(form: Form, rows: np.ndarray, at: int, slot: int) -> int:
    """Return how many words the tiles of slots before this one take in the packed record that begins at `at`."""
    kept = lone = 0
    for word in range((slot + 63) // 64):
        bits = rows[at + 1 + word]
        if word == slot // 64:
            bits &= low(slot % 64)
        kept += ones(bits)
        lone += ones(bits & rows[at + 1 + form.bits + word])
    return kept * form.step + lone * (form.lone - form.step)


@inlined
def tile_of(place: int, newest: int, lap: int, slots: int) -> int:
    """Return the tile at a place of a ring whose newest tile lies at the place `lap`."""
    return newest - lap + place - (slots if place > lap else 0)


@inlined
def _is_lone(places: Places, words: np.ndarray, floats: np.ndarray, at: int) -> bool:
    """Tell whether the tile whose index lies at `at` is what one event, and no other, makes of a blank one."""
    if floats[at + places.gaps[COUNT]] != 1.0 or (places.gaps[M2] and words[at + places.gaps[M2]]):
        return False
    unlike = 0
    for gap in places.alike:
        unlike |= words[at + gap] ^ words[at + places.alike[0]]
    return unlike == 0


@inlined
def _put(form: Form, places: Places, words: np.ndarray, floats: np.ndarray, out: np.ndarray, at: int) -> int:
    """Write a record packed to where `at` says in `out`; return how many words it takes, `widest` at most."""
    to, slot = at + form.begin + form.head, 0
    out[at] = form.mark
    out[at + 1 : at + 1 + 2 * form.bits] = 0
    for word in range(form.head):
        out[at + form.begin + word] = words[places.head[word]]
    for ring in range(len(places.rings)):
        begin, slots = places.rings[ring, 0], places.rings[ring, 1]
        newest = newest_tile(words, begin, slots)
        lap = newest % slots
        out[at + 1 + 2 * form.bits + ring] = newest
        for place in range(slots):
            index, field = begin + place, at + 1 + slot // 64
            # No tile but this one is held and not over.
            if newest != _EMPTY and words[index] == tile_of(place, newest, lap, slots):
                out[field] |= np.int64(1) << slot % 64
                if form.lone < form.step and _is_lone(places, words, floats, index):
                    out[field + form.bits] |= np.int64(1) << slot % 64
                    out[to] = words[index + places.alike[0]]
                    if form.lone == 2:
                        out[to + 1] = words[index + places.gaps[LAST_MS]]
                    to += form.lone
                else:
                    for word in range(form.step):
                        out[to + word] = words[places.place[slot, 1 + word]]
                    to += form.step
            slot += 1
    return to - at


@compiled(_FORM, _PLACES, WORDS, OUT_LONGS, OUT_LONGS)
def pack(form: Form, places: Places, records: np.ndarray, out: np.ndarray, sizes: np.ndarray) -> None:
    """Write the packed ones of records, int64 [n, words], one after another into `out`, int64 [n * most + widest].

    `sizes`, int64 [n], becomes how many words each takes; 0 for a record that is to be kept whole.
    """
    at = 0
    for row in range(len(records)):
        words = records[row]
        sizes[row] = 0
        if words[0] == form.fingerprint:
            size = _put(form, places, words, words.view(np.float64), out, at)
            if size <= places.most:
                sizes[row] = size
                at += size


@inlined
def is_packed(form: Form, rows: np.ndarray, at: int, size: int) -> bool:
    """Tell whether the so many words from `at` on are a packed record."""
    if size < form.begin or rows[at] != form.mark:
        return False
    return size == form.begin + form.head + taken_below(form, rows, at, form.slots)


@inlined
def _unpacked(form: Form, places: Places, rows: np.ndarray, at: int, words: np.ndarray) -> None:
    # What a lone event has not is blank already.
    floats = words.view(np.float64)
    for word in range(form.head):
        words[places.head[word]] = rows[at + form.begin + word]
    source, slot = at + form.begin + form.head, 0
    for ring in range(len(places.rings)):
        slots, newest = places.rings[ring, 1], rows[at + 1 + 2 * form.bits + ring]
        lap = newest % slots
        for place in range(slots):
            if rows[at + 1 + slot // 64] >> (slot % 64) & 1:
                index = places.place[slot, 0]
                words[index] = tile_of(place, newest, lap, slots)
                if form.lone < form.step and rows[at + 1 + form.bits + slot // 64] >> (slot % 64) & 1:
                    floats[index + places.gaps[COUNT]] = 1.0
                    for gap in places.alike:
                        words[index + gap] = rows[source]
                    if form.lone == 2:
                        words[index + places.gaps[LAST_MS]] = rows[source + 1]
                    source += form.lone
                else:
                    for word in range(form.step):
                        words[places.place[slot, 1 + word]] = rows[source + word]
                    source += form.step
            slot += 1


@inlined
def _unpacked_first(form: Form, places: Places, rows: np.ndarray, at: int, size: int, words: np.ndarray) -> None:
    """Write a record of the first form, whose mark is known; nothing where it has not its size."""
    source, filled = at + 1 + form.bits, 0
    if size < 1 + form.bits:
        return
    for slot in range(form.slots):
        filled += rows[at + 1 + slot // 64] >> (slot % 64) & 1
    if size != 1 + form.bits + form.head + filled * (1 + form.step):
        return
    for word in range(form.head):
        words[places.head[word]] = rows[source + word]
    source += form.head
    for slot in range(form.slots):
        if rows[at + 1 + slot // 64] >> (slot % 64) & 1:
            for word in range(1 + form.step):
                words[places.place[slot, word]] = rows[source + word]
            source += 1 + form.step


@compiled()
def are_words(sizes: np.ndarray) -> bool:
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
    if not are_words(sizes):
        return False
    at = 0
    for row in range(len(out)):
        size, words = sizes[row] // WORD, out[row]
        if size == words.size:
            words[:] = rows[at : at + size]
        else:
            words[:] = places.blank
            if size and rows[at] == form.first_mark:
                _unpacked_first(form, places, rows, at, size, words)
            elif is_packed(form, rows, at, size):
                _unpacked(form, places, rows, at, words)
        at += size
    return True

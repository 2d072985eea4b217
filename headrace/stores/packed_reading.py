"""The loops that read windows of stored rows where they lie, as machine code; what a row is, `packed` says.

This is the hot path of requests: see headrace.features.merging.
"""

from __future__ import annotations

import numpy as np

from headrace.compiled import BOOL, LONGS, OUT_BOOLS, OUT_DOUBLES, OUT_LONGS, OUT_TABLE, ROWS, compiled, inlined
from headrace.features.columns import NO_TIME
from headrace.features.merging import edges_of, merge_one, put_last, put_window, room_of, seen_of
from headrace.features.tiles import Shape
from headrace.stores.packed_form import WORD, Form
from headrace.stores.packed_kernels import are_words, is_packed, low, ones, taken_below, tile_of

_NEVER = np.int64(NO_TIME)


@inlined
def _choose(
    form: Form, rows: np.ndarray, at: int, slot: int, slots: int, newest: int, edges: np.ndarray, chosen: np.ndarray
) -> int:
    """Write where the tiles of one window's slots, from `slot` on, lie that are within its edges; return how many.

    That is the word before a tile; of a lone event its word's complement, which is below 0.
    """
    lap, covered, end = newest % slots, 0, slot + slots
    place = at + form.begin + form.head + taken_below(form, rows, at, slot)
    for word in range(slot // 64, (end + 63) // 64):
        kept, lone = rows[at + 1 + word], rows[at + 1 + form.bits + word] if form.lone < form.step else 0
        if word == slot // 64:
            kept &= ~low(slot % 64)
        if word == end // 64:
            kept &= low(end % 64)
        while kept:
            bit = ones((kept & -kept) - 1)
            kept &= kept - 1
            tile = tile_of(64 * word + bit - slot, newest, lap, slots)
            alone = lone >> bit & 1
            chosen[covered] = ~place if alone else place - 1
            covered += (edges[0] <= tile) & (tile < edges[1])
            place += form.lone if alone else form.step
    return covered


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
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Read every window of the packed record whose words begin at `at`, where it lies; -1 stands for no record.

    Returns the time of its newest event.
    """
    edges, chosen, _ = room
    newest, slot = rows[at + form.newest] if at >= 0 else _NEVER, 0
    for ring in range(len(rings)):
        tiles, slots = 0, rings[ring, 1]
        if at >= 0 and newest >= edges[ring, 2]:
            front = rows[at + 1 + 2 * form.bits + ring]
            tiles = _choose(form, rows, at, slot, slots, front, edges[ring], chosen)
        put_window(stats, gaps, ring, rows, floats, tiles, out, row, room)
        slot += slots
    put_last(shape, floats, at + form.last, at >= 0, out, row)
    return int(newest)


@compiled()
def _opened(numbers: np.ndarray) -> tuple[Shape, Form]:
    """Return the two that packed.numbers_of made these of; to hand over both as they are takes longer than a read."""
    windows, stats, gaps = numbers[0], numbers[1], numbers[2]
    at = 3
    of = numbers[at : at + 16]
    at += 16
    own, packed, at = numbers[at : at + gaps], numbers[at + gaps : at + 2 * gaps], at + 2 * gaps
    kept, rings = numbers[at : at + stats], numbers[at + stats :].reshape(windows, -1)
    shape = Shape(of[0], of[1], of[2], of[3], rings, own, kept)
    form = Form(of[4], of[5], of[6], of[7], of[8], of[9], of[10], of[11], of[12], of[13], of[14], of[15], packed)
    return shape, form


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
    read where they lie. Returns False where a row is no whole words or of the first form: what was written till then
    does not count.
    """
    if not are_words(sizes):
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
            if size and rows[at] == form.first_mark:
                return False
            begin = at if is_packed(form, rows, at, size) else -1
            newest = _merge_packed(shape, form, rings, stats, packed_gaps, rows, floats, begin, values, row, room)
        found[row], age_ms[row], exact[row] = seen_of(newest, when)
        at += size
    return True

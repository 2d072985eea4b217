"""The loops over tiles that read, as machine code: records into windows.

This is the hot path of requests. As in kernels, a record is taken as the words it consists of and a group as the
numbers of its `Shape`. What several loops share is made part of each: to hand over so many arrays takes longer than
what is done with them.
"""

from __future__ import annotations

import numpy as np

from headrace.compiled import LONGS, OUT_BOOLS, OUT_DOUBLES, OUT_TABLE, WORDS, compiled, inlined
from headrace.features.columns import NO_TIME
from headrace.features.kernels import SHAPE, newest_tile
from headrace.features.tiles import COUNT, LAST, LAST_MS, M2, MAX, MIN, NO_TILE, SUM, Shape

_NEVER, _NO_TILE = np.int64(NO_TIME), np.int64(NO_TILE)


@inlined
def edges_of(rings: np.ndarray, as_of: int, edges: np.ndarray) -> None:
    """Write where windows end at an instant, int64 [windows, 3], by the `rings` of a Shape.

    That is the first tile that each covers, the one past the last, and the instant before which a key's newest event
    was if all of the window is over.
    """
    for ring in range(len(rings)):
        tile_ms, tail_ms, delay_ms = rings[ring, 2], rings[ring, 3], rings[ring, 4]
        edges[ring, 0] = (as_of - tail_ms) // tile_ms
        # An undelayed head is exact: the tile holding as_of - 1 ms is the last one covered.
        edges[ring, 1] = (as_of - delay_ms if delay_ms else as_of + tile_ms - 1) // tile_ms
        edges[ring, 2] = as_of - tail_ms - tile_ms


@inlined
def _choose(words: np.ndarray, begin: int, slots: int, first: int, past: int, chosen: np.ndarray) -> int:
    """Write at which of the places from `begin` on tiles from `first` to `past` lie, and return how many they are."""
    covered = 0
    for place in range(begin, begin + slots):  # without a branch: nobody could guess which it is
        tile = words[place]
        chosen[covered] = place
        covered += (first <= tile) & (tile < past)
    return covered


@inlined
def _sum(
    words: np.ndarray, floats: np.ndarray, gaps: np.ndarray, chosen: np.ndarray, tiles: int, summary: np.ndarray
) -> None:
    """Make the statistics of tiles out of the first so many places of put_window."""
    count, total, m2, least, most, last, newest = 0.0, 0.0, 0.0, np.inf, -np.inf, np.nan, _NEVER
    for at in range(tiles):  # what a lone event has not is read all the same, and not used: a branch would be guessed
        place = chosen[at]
        lone, value_at = place < 0, ~place
        own = floats[value_at if lone else place + gaps[COUNT]]
        own = 1.0 if lone else own
        if gaps[SUM]:
            value = floats[value_at if lone else place + gaps[SUM]]
            if gaps[M2]:
                apart = value / own - total / count if count else 0.0
                within = floats[value_at if lone else place + gaps[M2]]
                m2 += (0.0 if lone else within) + apart * apart * own * count / (own + count)
            total += value
        count += own
        if gaps[MIN]:
            least = min(least, floats[value_at if lone else place + gaps[MIN]])
        if gaps[MAX]:
            most = max(most, floats[value_at if lone else place + gaps[MAX]])
        if gaps[LAST] and words[value_at + 1 if lone else place + gaps[LAST_MS]] > newest:
            last = floats[value_at if lone else place + gaps[LAST]]
            newest = words[value_at + 1 if lone else place + gaps[LAST_MS]]
    summary[0], summary[1], summary[2] = count, total, total / count
    summary[3] = np.sqrt(m2 / (count - 1.0)) if count > 1.0 else np.nan
    summary[4], summary[5], summary[6] = least, most, last


@inlined
def put_window(
    stats: np.ndarray,
    gaps: np.ndarray,
    ring: int,
    words: np.ndarray,
    floats: np.ndarray,
    tiles: int,
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Write the statistics of one window of one record to its row of `out`, of the tiles that were chosen for it.

    `room` is room_of the group's Shape; of it the first so many `tiles` of `chosen` say where in `words`, which
    `floats` are too: from there `gaps` lie to the fields of a tile. Where one is below 0, its complement is the place
    of the value, and behind it the time, of a lone event. `stats` are the Shape's.
    """
    _, chosen, summary = room
    column = ring * stats.size
    if tiles:
        _sum(words, floats, gaps, chosen, tiles, summary)
        for at in range(stats.size):
            stat = stats[at]
            if stat >= 0:
                out[row, column + at] = summary[stat]
    else:
        for at in range(stats.size):
            stat = stats[at]
            if stat >= 0:  # counts and sums are 0 where there was nothing
                out[row, column + at] = 0.0 if stat < 2 else np.nan


@inlined
def room_of(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what put_window needs: edges_of windows, and what it writes over.

    That is the places of tiles, int64 [slots], and the statistics of PLAIN.
    """
    return np.empty((len(shape.rings), 3), np.int64), np.empty(shape.rings[:, 1].max(), np.int64), np.empty(7)


@inlined
def merge_one(
    shape: Shape,
    rings: np.ndarray,
    stats: np.ndarray,
    gaps: np.ndarray,
    words: np.ndarray,
    floats: np.ndarray,
    at: int,
    as_of: int,
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Read every window of the whole record whose words begin at `at` into a row of `out`; see merge.

    Returns the time of its newest event.
    """
    edges, chosen, _ = room
    known = words[at] == shape.fingerprint
    newest = newest_of(shape, words, at)
    for ring in range(len(rings)):
        tiles, begin, slots = 0, at + rings[ring, 0], rings[ring, 1]
        if known and newest >= edges[ring, 2]:
            first = edges[ring, 0]
            if newest >= as_of:  # else no tile that is covered is over
                front = newest_tile(words, begin, slots)
                first = max(first, front - slots + 1) if front != _NO_TILE else first
            tiles = _choose(words, begin, slots, first, edges[ring, 1], chosen)
        put_window(stats, gaps, ring, words, floats, tiles, out, row, room)
    put_last(shape, floats, at + shape.last, known, out, row)
    return newest


@inlined
def put_last(shape: Shape, floats: np.ndarray, begin: int, known: bool, out: np.ndarray, row: int) -> None:
    """Write the last columns of one record, which begin at `begin`, behind its windows; NaN if it is not `known`."""
    column = len(shape.rings) * shape.stats.size
    for last in range(shape.lasts):
        out[row, column + last] = floats[begin + last] if known else np.nan


@compiled()
def seen_of(newest: int, as_of: int) -> tuple[bool, float, bool]:
    """Return what is known of a record by the time of its newest event: found, age in ms, exact; see seen."""
    found = newest != _NEVER
    return found, max(as_of - newest, 0) if found else np.nan, not found or as_of > newest


@compiled()
def newest_of(shape: Shape, words: np.ndarray, at: int) -> int:
    """Return the time of the newest event of the whole record whose words begin at `at`; NO_TIME if there is none."""
    return int(words[at + shape.newest] if words[at] == shape.fingerprint else _NEVER)


@compiled(SHAPE, WORDS, LONGS, OUT_TABLE)
def merge(shape: Shape, records: np.ndarray, as_of: np.ndarray, out: np.ndarray) -> None:
    """Read every window of every record at its own instant.

    `records` is int64 [n, words], those of another layout are empty; `as_of` is int64 [n], `out` float64
    [n, columns]. Statistics that are computed elsewhere are left as they are; NaN is missing.
    """
    words = records.reshape(-1)
    floats = words.view(np.float64)
    rings, stats, gaps, room = shape.rings, shape.stats, shape.gaps, room_of(shape)
    for row in range(len(records)):
        if not row or as_of[row] != as_of[row - 1]:
            edges_of(rings, as_of[row], room[0])
        at = row * records.shape[1]
        merge_one(shape, rings, stats, gaps, words, floats, at, as_of[row], out, row, room)


@compiled(SHAPE, WORDS, LONGS, OUT_BOOLS, OUT_DOUBLES, OUT_BOOLS)
def seen(
    shape: Shape, records: np.ndarray, as_of: np.ndarray, found: np.ndarray, age_ms: np.ndarray, exact: np.ndarray
) -> None:
    """Tell of every record whether it holds an event, how old its newest is, and whether a read's head is exact.

    `records` is int64 [n, words], `as_of` int64 [n]; `found` and `exact` are bool [n], `age_ms` is float64 [n], NaN
    where nothing was found.
    """
    words = records.reshape(-1)
    for row in range(len(records)):
        found[row], age_ms[row], exact[row] = seen_of(newest_of(shape, words, row * records.shape[1]), as_of[row])

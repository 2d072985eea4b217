"""The loops over tiles, as machine code: events into records, and records into windows.

This is the hot path of pipelines and of requests. A record is taken as the eight-byte words it
consists of, and a group as the numbers of its `Shape`, so that the same code serves every group.
Nothing here allocates.
"""

from __future__ import annotations

import numpy as np

from headrace.compiled import (
    BOOL,
    DOUBLE,
    DOUBLES,
    FLOATS,
    LONG,
    LONGS,
    OUT_BOOLS,
    OUT_DOUBLES,
    OUT_FLOATS,
    OUT_LONGS,
    OUT_TABLE,
    OUT_WORDS,
    WORDS,
    compiled,
    tuple_of,
)
from headrace.features.columns import NO_TIME
from headrace.features.tiles import Shape

_COUNT, _SUM, _M2, _MIN, _MAX, _LAST, _LAST_MS = range(7)  # of Shape.gaps
_NEVER = np.int64(NO_TIME)
SHAPE = tuple_of(Shape, LONG, LONG, LONG, LONG, OUT_WORDS, OUT_LONGS, OUT_LONGS)


@compiled()
def _add(
    words: np.ndarray, floats: np.ndarray, gaps: np.ndarray, place: int, value: float, time: int, begun: bool
) -> None:
    count = floats[place + gaps[_COUNT]] if begun else 0.0
    floats[place + gaps[_COUNT]] = count + 1.0
    if gaps[_SUM]:
        before = floats[place + gaps[_SUM]] if begun else 0.0
        floats[place + gaps[_SUM]] = before + value
        if gaps[_M2]:
            at = place + gaps[_M2]
            apart = value - before / count if begun else 0.0
            floats[at] = floats[at] + apart * apart * count / (count + 1.0) if begun else 0.0
    if gaps[_MIN] and not (begun and floats[place + gaps[_MIN]] <= value):
        floats[place + gaps[_MIN]] = value
    if gaps[_MAX] and not (begun and floats[place + gaps[_MAX]] >= value):
        floats[place + gaps[_MAX]] = value
    if gaps[_LAST] and not (begun and words[place + gaps[_LAST_MS]] > time):
        floats[place + gaps[_LAST]] = value
        words[place + gaps[_LAST_MS]] = time


@compiled(SHAPE, OUT_WORDS, LONGS, LONGS, DOUBLES, OUT_TABLE, OUT_BOOLS)
def fold(
    shape: Shape,
    records: np.ndarray,
    row: np.ndarray,
    times: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    too_late: np.ndarray,
) -> None:
    """Add events to records, in place and in order of arrival; NaN is not counted.

    `records` is int64 [m, words]; `row` and `times` int64, `values` float64 and `too_late` bool are [n]; `last` is
    float64 [columns, n]. `too_late` becomes who came after its slot of every window went on to a newer tile.
    """
    for event in range(times.size):
        words = records[row[event]]
        floats, time = words.view(np.float64), times[event]
        if time >= words[shape.newest]:
            words[shape.newest] = time
            for column in range(shape.lasts):
                floats[shape.last + column] = last[column, event]
        too_late[event] = True
        for ring, slots, tile_ms, _, _ in shape.rings:
            tile = time // tile_ms
            place = ring + tile % slots
            held = words[place]
            if tile >= held:
                too_late[event] = False
                if not np.isnan(values[event]):
                    words[place] = tile
                    _add(words, floats, shape.gaps, place, values[event], time, tile == held)


@compiled()
def _covered(
    shape: Shape, ring: int, words: np.ndarray, begin: int, filled: int, step: int, as_of: int, chosen: np.ndarray
) -> int:
    """Write at which places the indices of the tiles lie that a window covers, and return how many they are."""
    tile_ms, tail_ms, delay_ms = shape.rings[ring, 2], shape.rings[ring, 3], shape.rings[ring, 4]
    first = (as_of - tail_ms) // tile_ms
    # An undelayed head is exact: the tile holding as_of - 1 ms is the last one covered.
    past = (as_of - delay_ms if delay_ms else as_of + tile_ms - 1) // tile_ms
    covered, place = 0, begin
    for _ in range(filled):  # without a branch: nobody could guess which it is
        tile = words[place]
        chosen[covered] = place
        covered += (first <= tile) & (tile < past)
        place += step
    return covered


@compiled()
def _sum(
    words: np.ndarray, floats: np.ndarray, gaps: np.ndarray, chosen: np.ndarray, tiles: int, summary: np.ndarray
) -> None:
    """Make the statistics of tiles out of the first so many places of their indices."""
    count, total, m2, least, most, last, newest = 0.0, 0.0, 0.0, np.inf, -np.inf, np.nan, _NEVER
    for at in range(tiles):
        place = chosen[at]
        own = floats[place + gaps[_COUNT]]
        if gaps[_SUM]:
            value = floats[place + gaps[_SUM]]
            if gaps[_M2]:
                apart = value / own - total / count if count else 0.0
                m2 += floats[place + gaps[_M2]] + apart * apart * own * count / (own + count)
            total += value
        count += own
        if gaps[_MIN]:
            least = min(least, floats[place + gaps[_MIN]])
        if gaps[_MAX]:
            most = max(most, floats[place + gaps[_MAX]])
        if gaps[_LAST] and words[place + gaps[_LAST_MS]] > newest:
            last, newest = floats[place + gaps[_LAST]], words[place + gaps[_LAST_MS]]
    summary[0], summary[1], summary[2] = count, total, total / count
    summary[3] = np.sqrt(m2 / (count - 1.0)) if count > 1.0 else np.nan
    summary[4], summary[5], summary[6] = least, most, last


@compiled()
def merge_window(
    shape: Shape,
    ring: int,
    words: np.ndarray,
    floats: np.ndarray,
    gaps: np.ndarray,
    begin: int,
    filled: int,
    step: int,
    newest: int,
    as_of: int,
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write the statistics of one window of one record, whose newest event was at `newest`, to its row of `out`.

    The index of the first of its `filled` tiles is at `begin` of `words`, which `floats` are too, and the next is
    `step` words on; `gaps` lie between an index and the fields of its tile. `room` is room_of the shape.
    """
    chosen, summary = room
    tiles = 0
    if newest >= as_of - shape.rings[ring, 3] - shape.rings[ring, 2]:  # else all of it is over
        tiles = _covered(shape, ring, words, begin, filled, step, as_of, chosen)
    if tiles:
        _sum(words, floats, gaps, chosen, tiles, summary)
    column = ring * shape.stats.size
    for at in range(shape.stats.size):
        stat = shape.stats[at]
        if stat >= 0:  # counts and sums are 0 where there was nothing
            out[row, column + at] = summary[stat] if tiles else 0.0 if stat < 2 else np.nan


@compiled()
def room_of(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return what merge_window writes over: the places of tiles, int64 [slots], and the statistics of PLAIN."""
    return np.empty(shape.rings[:, 1].max(), np.int64), np.empty(7)


@compiled()
def merge_one(
    shape: Shape,
    words: np.ndarray,
    floats: np.ndarray,
    at: int,
    as_of: int,
    out: np.ndarray,
    row: int,
    room: tuple[np.ndarray, np.ndarray],
) -> int:
    """Read every window of the whole record whose words begin at `at` into a row of `out`; see merge.

    Returns the time of its newest event.
    """
    known = words[at] == shape.fingerprint
    newest = newest_of(shape, words, at)
    for ring in range(len(shape.rings)):
        begin, filled = at + shape.rings[ring, 0], shape.rings[ring, 1] if known else 0
        merge_window(shape, ring, words, floats, shape.gaps, begin, filled, 1, newest, as_of, out, row, room)
    put_last(shape, floats, at + shape.last, known, out, row)
    return newest


@compiled()
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
    room = room_of(shape)
    for row in range(len(records)):
        merge_one(shape, words, floats, row * records.shape[1], as_of[row], out, row, room)


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


@compiled(OUT_DOUBLES, DOUBLE, DOUBLE, BOOL, OUT_BOOLS, returns=LONG)
def unfit(values: np.ndarray, low: float, high: float, required: bool, marks: np.ndarray) -> int:
    """Make NaN of every one of `values`, float64 [n], that is infinite or not from `low` to `high`; return how many.

    `marks`, bool [n], becomes which. Where a value is `required`, one that was NaN already is unfit too.
    """
    count = 0
    for row in range(values.size):
        value = values[row]
        absent = np.isnan(value)
        marks[row] = required if absent else not low <= value <= high or np.isinf(value)
        count += marks[row]
        if marks[row]:
            values[row] = np.nan
    return count


@compiled(FLOATS, OUT_FLOATS)
def fill(missing: np.ndarray, matrix: np.ndarray) -> None:
    """Put `missing`, float32 [columns], wherever `matrix`, float32 [n, columns], holds NaN."""
    for row in range(len(matrix)):
        for column in range(missing.size):
            if np.isnan(matrix[row, column]):
                matrix[row, column] = missing[column]

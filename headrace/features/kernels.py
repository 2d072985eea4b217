"""The loops over tiles that write, and those over columns, as machine code: events into records.

This is the hot path of pipelines. A record is taken as the eight-byte words it
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
    compiled,
    tuple_of,
)
from headrace.features.tiles import COUNT, LAST, LAST_MS, M2, MAX, MIN, NO_TILE, SUM, Shape

_NO_TILE = np.int64(NO_TILE)
SHAPE = tuple_of(Shape, LONG, LONG, LONG, LONG, OUT_WORDS, OUT_LONGS, OUT_LONGS)


@compiled()
def _add(
    words: np.ndarray, floats: np.ndarray, gaps: np.ndarray, place: int, value: float, time: int, begun: bool
) -> None:
    count = floats[place + gaps[COUNT]] if begun else 0.0
    floats[place + gaps[COUNT]] = count + 1.0
    if gaps[SUM]:
        before = floats[place + gaps[SUM]] if begun else 0.0
        floats[place + gaps[SUM]] = before + value
        if gaps[M2]:
            at = place + gaps[M2]
            apart = value - before / count if begun else 0.0
            floats[at] = floats[at] + apart * apart * count / (count + 1.0) if begun else 0.0
    if gaps[MIN] and not (begun and floats[place + gaps[MIN]] <= value):
        floats[place + gaps[MIN]] = value
    if gaps[MAX] and not (begun and floats[place + gaps[MAX]] >= value):
        floats[place + gaps[MAX]] = value
    if gaps[LAST] and not (begun and words[place + gaps[LAST_MS]] > time):
        floats[place + gaps[LAST]] = value
        words[place + gaps[LAST_MS]] = time


@compiled()
def newest_tile(words: np.ndarray, begin: int, slots: int) -> int:
    """Return the newest of the tiles whose indices lie from `begin` on; NO_TILE if there is none."""
    newest = _NO_TILE
    for at in range(begin, begin + slots):
        newest = max(newest, words[at])
    return int(newest)


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
    float64 [columns, n]. `too_late` becomes who came after its tile of every window was over.
    """
    for event in range(times.size):
        words = records[row[event]]
        floats, time = words.view(np.float64), times[event]
        if time >= words[shape.newest]:
            words[shape.newest] = time
            for column in range(shape.lasts):
                floats[shape.last + column] = last[column, event]
        too_late[event] = True
        behind = words[shape.newest] - time
        for ring, slots, tile_ms, _, _ in shape.rings:
            tile = time // tile_ms
            place = ring + tile % slots
            held = words[place]
            # Of no event that is behind by less can a tile be over.
            if behind <= (slots - 1) * tile_ms or newest_tile(words, ring, slots) < tile + slots:
                too_late[event] = False
                if not np.isnan(values[event]):
                    words[place] = tile
                    _add(words, floats, shape.gaps, place, values[event], time, tile == held)


@compiled(OUT_DOUBLES, DOUBLE, DOUBLE, BOOL, OUT_BOOLS, returns=LONG)
def unfit(values: np.ndarray, low: float, high: float, required: bool, marks: np.ndarray) -> int:
    """Make NaN of every one of `values`, float64 [n], that is infinite or not from `low` to `high`; return how many.

    Infinite is what is so as float32, which models read.
    `marks`, bool [n], becomes which. Where a value is `required`, one that was NaN already is unfit too.
    """
    count = 0
    for row in range(values.size):
        value = values[row]
        absent = np.isnan(value)
        marks[row] = required if absent else not low <= value <= high or np.isinf(np.float32(value))
        count += marks[row]
        if marks[row]:
            values[row] = np.nan
    return count


@compiled(DOUBLES, DOUBLES, OUT_LONGS, returns=DOUBLE)
def count_each(values: np.ndarray, bounds: np.ndarray, counts: np.ndarray) -> float:
    """Add to `counts`, int64 [bounds + 1], how many of `values` end at each of the growing `bounds`; return their sum.

    A value on a bound belongs below it; NaN is none.
    """
    total = 0.0
    for value in values:
        if np.isnan(value):
            continue
        at = 0
        while at < bounds.size and bounds[at] < value:
            at += 1
        counts[at] += 1
        total += value
    return total


@compiled(FLOATS, OUT_FLOATS)
def fill(missing: np.ndarray, matrix: np.ndarray) -> None:
    """Put `missing`, float32 [columns], wherever `matrix`, float32 [n, columns], holds no finite number."""
    for row in range(len(matrix)):
        for column in range(missing.size):
            if not np.isfinite(matrix[row, column]):
                matrix[row, column] = missing[column]

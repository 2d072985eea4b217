"""A handful of events into the tiles of its keys, one after another.

This is the hot path of a pipeline that keeps up: its batches hold a few events, and what an
array operation costs however short its arrays are would be most of a batch's time. It does
what `headrace.features.batches` does, in plain Python on the words of the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.features.tiles import Tiles

#: Events up to which one after another is faster than all at once.
FEW = 24


def fold(
    tiles: Tiles,
    records: np.ndarray,
    row: np.ndarray,
    times: np.ndarray,
    values: np.ndarray,
    last: Sequence[np.ndarray],
) -> np.ndarray:
    """Add events to records, in place; see `windows.fold`. Returns who was too late for every window, bool [n].

    `records` is [m], contiguous, and holds no sketches; `row`, `times` (int64), `values` and each of `last` are [n].
    """
    flat = records.view("u1").data
    words: Any = flat.cast("q")
    floats: Any = flat.cast("d")
    kept = [column.tolist() for column in last]
    too_late = []
    for event, (at, time, value) in enumerate(zip(row.tolist(), times.tolist(), values.tolist(), strict=True)):
        record = at * tiles.width
        if time >= words[record + tiles.newest]:
            words[record + tiles.newest] = time
            for column, read in enumerate(kept, record + tiles.last):
                floats[column] = read[event]
        late = True
        for ring, slots, tile_ms in tiles.each:
            tile = time // tile_ms
            place = record + ring + tile % slots
            held = words[place]
            if tile < held:
                continue
            late = False
            if value == value:
                words[place] = tile
                _add(tiles, words, floats, place, value, time, tile == held)
        too_late.append(late)
    return np.array(too_late, dtype=bool)


def _add(tiles: Tiles, words: Any, floats: Any, place: int, value: float, time: int, begun: bool) -> None:
    """Add a value to the slot whose tile index lies at `place`; what an unbegun slot holds does not matter."""
    gap = tiles.gap
    count = floats[place + gap["count"]] if begun else 0.0
    floats[place + gap["count"]] = count + 1.0
    if "sum" in gap:
        at = place + gap["sum"]
        before = floats[at] if begun else 0.0
        floats[at] = before + value
        if "m2" in gap:
            apart = value - before / count if begun else 0.0
            at = place + gap["m2"]
            floats[at] = floats[at] + apart * apart * count / (count + 1.0) if begun else 0.0
    if "min" in gap and not (begun and floats[place + gap["min"]] <= value):
        floats[place + gap["min"]] = value
    if "max" in gap and not (begun and floats[place + gap["max"]] >= value):
        floats[place + gap["max"]] = value
    if "last" in gap and not (begun and words[place + gap["last_ms"]] > time):
        floats[place + gap["last"]] = value
        words[place + gap["last_ms"]] = time

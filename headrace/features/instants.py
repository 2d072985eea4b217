"""Instants: from what clients and files write to epoch milliseconds, UTC.

An instant is an integer of epoch milliseconds or ISO 8601 text; text without an offset
is UTC. There is one reader of instants, so that a stream, a backfill and a request
never understand the same text differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from headrace.features.columns import NO_TIME

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: Instants beyond year 9999 are typing errors, or microseconds taken for milliseconds.
LAST_MS = 253_402_300_799_999
_MOST_DIGITS = 32  # Python refuses to read thousands of them


def epoch_ms(value: Any) -> int:
    """Return one instant in epoch milliseconds, rounded down; NO_TIME where it cannot be read.

    >>> epoch_ms("1970-01-01T00:00:01.5Z"), epoch_ms("1970-01-01 01:00:00+01:00"), epoch_ms(b"1500")
    (1500, 0, 1500)
    >>> epoch_ms("yesterday") == epoch_ms(None) == NO_TIME
    True
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, datetime):
        return epoch_ms(_of_datetime(value))
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value) if -LAST_MS <= int(value) <= LAST_MS else NO_TIME
    if isinstance(value, float | np.floating) and abs(float(value)) <= LAST_MS:
        return math.floor(value)
    return NO_TIME


def epochs_ms(values: Iterable[Any]) -> np.ndarray:
    """Return int64 epoch milliseconds of many instants; NO_TIME where one cannot be read."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[ms]").astype(np.int64)  # "not a time" becomes NO_TIME
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        readable = (values >= -LAST_MS) & (values <= LAST_MS)
        if np.count_nonzero(readable) == values.size:
            return values.astype(np.int64)
        return np.where(readable, values, NO_TIME).astype(np.int64)
    if isinstance(values, list) and values and type(values[0]) is str:
        at = _of_texts(values)
        if at is not None:
            return at
    return np.fromiter(map(epoch_ms, values), dtype=np.int64)


def iso(instant_ms: int) -> str:
    """Return an instant as ISO 8601 text in UTC.

    >>> iso(1500)
    '1970-01-01T00:00:01.500Z'
    """
    return (EPOCH + int(instant_ms) * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_texts(values: list[Any]) -> np.ndarray | None:
    """Read texts that are all of one of the usual forms at once; None where they are not."""
    if set(map(type, values)) != {str} or len(set(map(len, values))) != 1 or len(values[0]) not in _USUAL:
        return None
    text = np.array(values)
    signs = text.view(np.uint32).reshape(text.size, -1)
    if len(values[0]) in (20, 24):
        if (signs[:, -1] != ord("Z")).any():
            return None
        text = text.astype(f"U{len(values[0]) - 1}")
    length = text.dtype.itemsize // signs.itemsize
    digits = signs[:, [at for at, sign in enumerate(_FORM[:length]) if sign == "0"]]
    between = [at for at, sign in enumerate(_FORM[:length]) if sign not in "0T"]
    usual = (
        (digits - ord("0") <= 9).all()
        and (signs[:, between] == [ord(_FORM[at]) for at in between]).all()
        and (signs[:, 0] > ord("0")).all()
    )
    try:
        return text.astype("datetime64[ms]").astype(np.int64) if usual else None
    except ValueError:
        return None


#: Lengths of `2026-01-01T00:00:00`, with a Z, with milliseconds, and with both.
_USUAL = frozenset({19, 20, 23, 24})
_FORM = "0000-00-00T00:00:00.000"


def _of_text(text: str) -> int:
    if text.removeprefix("-").isdecimal():  # digits alone are milliseconds, never a compact date
        return epoch_ms(int(text)) if len(text) <= _MOST_DIGITS else NO_TIME
    try:
        return epoch_ms(datetime.fromisoformat(text))
    except ValueError:
        return NO_TIME


def _of_datetime(at: datetime) -> int:
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // _MILLISECOND

"""From what a topic carries to typed columns, and the reasons why some events are not.

An event is a mapping of names to raw values, as JSON, CSV or Parquet hold them. Decoding is by
column: values become float64 (NaN for null), int64 keys or epoch milliseconds. An event
without its time, without a required column or with a value that is not of its column's
kind is rejected with the reason; it is never half counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.features.columns import NO_TIME, Column, some
from headrace.features.instants import LAST_MS, epochs_ms
from headrace.features.streams import Stream

_NULL_TEXT = frozenset({"", "null", "NULL", "None", "nan", "NaN", "NA"})
_TRUE = frozenset({"true", "True", "TRUE", "1", "1.0"})
_FALSE = frozenset({"false", "False", "FALSE", "0", "0.0"})


@dataclass(slots=True)
class Events:
    """Typed columns of the accepted events, and why each other one was refused."""

    columns: dict[str, np.ndarray]
    accepted: np.ndarray  # bool [events read]
    reasons: dict[int, str]  # index of a refused event -> the reason

    def without(self, duplicate: np.ndarray) -> Events:
        """Return the events without those accepted ones that are duplicates, bool [accepted events]."""
        if not some(duplicate):
            return self
        accepted = self.accepted.copy()
        accepted[np.flatnonzero(accepted)[duplicate]] = False
        return Events({name: values[~duplicate] for name, values in self.columns.items()}, accepted, self.reasons)


def decode(stream: Stream, raw: Mapping[str, Sequence[Any] | np.ndarray], count: int, now_ms: int) -> Events:
    """Decode equally long raw columns of `count` events; a column absent from `raw` is null in all of them."""
    reasons: dict[int, str] = {}
    typed: dict[str, np.ndarray] = {}
    for column in stream.columns:
        values = raw.get(column.name)
        typed[column.name], bad, null = _typed(column, values, count)
        if bad is not None and some(bad):
            _refuse(reasons, bad, f"{column.name} is not {_kind(column)}")
        if null is not None and (column.required or column.name == stream.time) and some(null):
            _refuse(reasons, null, f"{column.name} is missing, an event of {stream.name} needs it")
    late = typed[stream.time] > now_ms + stream.tolerance_ms
    if some(late):
        _refuse(
            reasons,
            late,
            f"{stream.time} is too far in the future, more than {stream.tolerance_ms / 1000:g} s after the clock",
        )
    accepted = np.ones(count, dtype=bool)
    if reasons:
        accepted[list(reasons)] = False
        typed = {name: values[accepted] for name, values in typed.items()}
    return Events(typed, accepted, reasons)


#: A column's values, which of them are not of its kind, and which are null; None where none is.
Typed = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]

_KIND = {
    "float64": "a finite number",
    "int64": "a whole number",
    "bool": "true or false",
    "timestamp": "ISO 8601 or epoch milliseconds",
    "string": "text",
}


def _kind(column: Column) -> str:
    bounded = column.dtype == "float64" and column.low > -np.inf
    return f"a number from {column.low:g} to {column.high:g}" if bounded else _KIND[column.dtype]


def _refuse(reasons: dict[int, str], marks: np.ndarray, reason: str) -> None:
    for at in np.flatnonzero(marks).tolist():
        reasons.setdefault(at, reason)


def _typed(column: Column, values: Any, count: int) -> Typed:
    """Return a column's values, which of them are not of its kind, and which are null; None where none is."""
    if isinstance(values, list):
        if count <= _FEW and (clean := _few(column, values)) is not None:
            return clean, None, None
        values = _array(column, values)
    if values is None:
        return _blank(column, count), None, np.ones(count, dtype=bool)
    if column.dtype == "timestamp":
        at = epochs_ms(values)
        unread = at == NO_TIME
        if not some(unread):
            return at, None, None
        null = _nulls(values, count)
        return at, unread & ~null, null
    if column.dtype == "string":
        bad = _nested(values, count)
        text = texts(values if bad is None else ["" if type(v) in _NESTED else v for v in values], count)
        null = text == None  # noqa: E711  element by element
        return text, bad, null if bad is None else null & ~bad
    if column.dtype == "int64":
        return _whole(values, count)
    return _number(column, values, count)


def _few(column: Column, values: list[Any]) -> np.ndarray | None:
    """Return a handful of values that are of their column's kind beyond doubt, None where they need a closer look."""
    kind, low, high = column.dtype, column.low, column.high
    most = LAST_MS if kind == "timestamp" else 2**63 - 1
    for value in values:
        of = type(value)
        if kind == "float64":
            if of not in _NUMBERS or not low <= value <= high or value - value != 0:
                return None
        elif kind == "string":
            if of is not str or value.strip() in _NULL_TEXT:
                return None
        elif kind == "bool":
            if of is not bool:
                return None
        elif of is not int or not -most <= value <= most:
            return None
    return np.array(values, dtype=_HELD[kind])


_FEW = 32  # events that plain Python looks at faster than arrays do
_NUMBERS = frozenset({int, float})
_HELD: dict[str, Any] = {
    "float64": np.float64,
    "bool": np.float64,
    "int64": np.int64,
    "timestamp": np.int64,
    "string": object,
}


def _array(column: Column, values: list[Any]) -> Any:
    """Return values as one array where their types allow it without a look at each, None where all are null."""
    types = set(map(type, values))
    if types == _NONE:
        return None
    try:
        if types == _INT:
            return np.array(values, dtype=np.int64)
        if types <= _AS_FLOAT.get(column.dtype, _NONE):
            return np.array(values, dtype=np.float64)
    except OverflowError:  # a whole number beyond 64 bits
        pass
    return values


_NONE, _INT, _TEXT = frozenset({type(None)}), frozenset({int}), frozenset({str})
_AS_FLOAT = {"float64": frozenset({int, float, type(None)}), "bool": frozenset({bool, type(None)})}


def _blank(column: Column, count: int) -> np.ndarray:
    blanks = {"timestamp": NO_TIME, "int64": 0, "string": None}
    kinds = {"timestamp": np.int64, "int64": np.int64, "string": object}
    return np.full(count, blanks.get(column.dtype, np.nan), dtype=kinds.get(column.dtype, np.float64))


def _nested(values: Any, count: int) -> np.ndarray | None:
    """Tell which values are lists or objects of JSON, which are no text; None where none is."""
    if not isinstance(values, list) or _NESTED.isdisjoint(map(type, values)):
        return None
    return np.fromiter((type(value) in _NESTED for value in values), dtype=bool, count=count)


_NESTED = frozenset({list, dict})


def _nulls(values: Any, count: int) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        return np.zeros(count, dtype=bool)
    return np.fromiter((_is_null(value) for value in values), dtype=bool, count=count)


def _is_null(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and value.strip() in _NULL_TEXT)


def texts(values: Sequence[Any] | np.ndarray, count: int) -> np.ndarray:
    """Return values as text, objects [count], None where they are null."""
    given = values.tolist() if isinstance(values, np.ndarray) else values
    out = np.empty(count, dtype=object)
    if set(map(type, given)) == _TEXT and _NULL_TEXT.isdisjoint(map(str.strip, given)):
        out[:] = given
        return out
    out[:] = [None if text.strip() in _NULL_TEXT else text for text in map(str, given)]
    return out


def _whole(values: Any, count: int) -> Typed:
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return values, None, None
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        # A truth value is no whole number, nor is what wraps to a negative one.
        bad = np.full(count, values.dtype.kind == "b") | (values > np.iinfo(np.int64).max)
        return np.where(bad, 0, values).astype(np.int64), bad, np.zeros(count, dtype=bool)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        null = np.isnan(values)
        bad = ~null & ((values != np.floor(values)) | (np.abs(values) > 2**53))
        return np.where(null | bad, 0, values).astype(np.int64), bad, null
    out, bad, null = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    try:
        out[:] = [_WHOLE[type(value)](value) for value in values]
    except (KeyError, ValueError, OverflowError):  # at least one is not whole: find which
        for at, value in enumerate(values):
            null[at] = _is_null(value)
            if not null[at]:
                whole = _whole_of(value)
                out[at], bad[at] = whole or 0, whole is None
    return out, bad, null


_WHOLE: dict[type, Any] = {int: int, str: int}


def _whole_of(value: Any) -> int | None:
    if isinstance(value, str):
        digits, _, zeros = value.strip().partition(".")
        value = digits if not zeros.strip("0") else None  # 12.0 is how a column with nulls is often written
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    exact = isinstance(value, str) or (whole == value and not isinstance(value, bool))
    low, high = (-(2**53), 2**53) if isinstance(value, float) else (-(2**63), 2**63 - 1)
    return whole if exact and low <= whole <= high else None


def _number(column: Column, values: Any, count: int) -> Typed:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        out = values.astype(np.float64)
        if column.dtype == "float64" and ((out >= column.low) & (out <= column.high) & np.isfinite(out)).all():
            return out, None, None
        null = np.isnan(out)
    elif column.dtype == "bool":
        out, null = _flags(values, count)
    else:
        out, null = _floats(values, count)
    bad = ~null & (np.isnan(out) | column.outside(out))
    if column.dtype == "bool":
        bad |= ~null & (out != 0) & (out != 1)
    return np.where(bad, np.nan, out), bad, null


def _floats(values: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    if set(map(type, values)) <= _PLAIN:
        try:
            out = np.fromiter(map(float, values), dtype=np.float64, count=count)
        except (ValueError, OverflowError):  # at least one is no number: find which
            out = np.full(count, np.nan)
        if not np.isnan(out).any():
            return out, np.zeros(count, dtype=bool)
    return np.fromiter(map(_float_of, values), dtype=np.float64, count=count), _nulls(values, count)


_PLAIN = frozenset({int, float, str})


def _float_of(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, bool | np.bool_) else np.nan
    except (TypeError, ValueError, OverflowError):
        return np.nan


def _flags(values: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    out = np.full(count, np.nan)
    for at, value in enumerate(values):
        text = "" if type(value) in _NESTED else str(value).strip()
        out[at] = 1.0 if text in _TRUE else 0.0 if text in _FALSE else np.nan
    return out, _nulls(values, count)

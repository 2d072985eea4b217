"""Rows: a request's columns, or a training spine's, in the form features are computed from.

Numbers become float64 with NaN for missing, keys int64 or text, instants epoch
milliseconds. A value that no feature can be computed from (infinite, beyond its range,
a missing required one) becomes missing and its row is marked; nobody else's row is touched.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from headrace.features.columns import DTYPES, NO_TIME, Column, some
from headrace.features.instants import epochs_ms
from headrace.features.view import FeatureView


class RowsError(ValueError):
    """Columns that do not fit the view: unknown, missing, or of a kind that cannot be read."""


@dataclass(slots=True)
class Rows:
    """Conformed columns. `columns[name]` is [count]; `as_of` is int64 [count], epoch milliseconds.

    A row without a key has 0 or "" in its place: it is among those `unkeyed`, and nothing is stored of it.
    """

    count: int
    columns: dict[str, np.ndarray]
    as_of: np.ndarray
    invalid: dict[str, np.ndarray] = field(default_factory=dict)  # column -> bool [count], only where any is set
    unkeyed: dict[str, np.ndarray] = field(default_factory=dict)  # key column -> bool [count], likewise

    def spoiled(self) -> np.ndarray:
        """Tell which rows hold at least one invalid value, bool [count]."""
        out = np.zeros(self.count, dtype=bool)
        for marks in self.invalid.values():
            out |= marks
        return out


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """Return what a misspelt name probably meant, as the end of a sentence; empty where nothing is near.

    >>> nearest("ammount", ("amount", "cc_num"))
    "; did you mean 'amount'?"
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def conform(view: FeatureView, given: Mapping[str, np.ndarray], now_ms: int, *, partial: bool = False) -> Rows:
    """Return the request columns of a view from equally long arrays.

    Absent optional columns are missing in every row, an absent time is `now_ms`; if `partial`,
    required columns may be absent too. Raises RowsError for an unknown column, an absent
    required one, or columns of unequal length.
    """
    _check_names(view, given, partial)
    count = len(next(iter(given.values())))
    rows = Rows(count, {}, np.full(count, now_ms, dtype=np.int64))
    for column in view.request:
        values = given.get(column.name)
        if values is not None and len(values) != count:
            raise RowsError(f"column {column.name!r} has {len(values)} rows, needs {count} like the columns before it")
        if column.name in view.keys:
            if values is not None:
                _put_key(rows, column, values)
            elif not (partial or column.required):
                none: Any = "" if column.dtype == "string" else 0
                rows.columns[column.name] = np.full(count, none, dtype=DTYPES[column.dtype])
                rows.unkeyed[column.name] = np.ones(count, dtype=bool)
        elif column.dtype == "timestamp":
            _put_time(rows, column, values, is_as_of=column.name == view.time)
        elif column.dtype != "string":
            _put_number(rows, column, values)
        elif values is not None:
            rows.columns[column.name] = np.asarray(values, dtype=object)
    return rows


def _check_names(view: FeatureView, given: Mapping[str, np.ndarray], partial: bool) -> None:
    known = view.request_names
    if unknown := given.keys() - known:
        name = next(name for name in given if name in unknown)
        raise RowsError(f"column {name!r} is unknown, needs one of {', '.join(known)}{nearest(name, known)}")
    if not view.required <= given.keys() and not (partial and given):
        absent = [name for name in known if name in view.required and name not in given]
        raise RowsError(f"column {', '.join(map(repr, absent))} is missing, got {', '.join(given) or 'no column'}")
    if not given:
        raise RowsError(f"no column was given, needs at least one of {', '.join(known)}")


def _put_number(rows: Rows, column: Column, values: np.ndarray | None) -> None:
    if values is None:
        rows.columns[column.name] = np.full(rows.count, np.nan)
        return
    numbers, bad = _floats(column, values), np.empty(rows.count, dtype=bool)
    unfit: Any = _unfit()(numbers, column.low, column.high, column.required, bad)
    if column.dtype == "bool" and values.dtype.kind != "b":
        neither = (numbers != 0.0) & (numbers != 1.0) & ~np.isnan(numbers)
        if some(neither):
            numbers[neither], bad[neither], unfit = np.nan, True, True
    if unfit:
        rows.invalid[column.name] = bad
    rows.columns[column.name] = numbers


@cache
def _unfit() -> Callable[[np.ndarray, float, float, bool, np.ndarray], bool]:
    from headrace.features.kernels import unfit  # half a second that most commands need not wait

    return unfit


def _put_key(rows: Rows, column: Column, values: np.ndarray) -> None:
    if column.dtype == "string":
        keys = np.asarray(values, dtype=object)
        absent = bad = np.fromiter((key is None or key == "" for key in keys), dtype=bool, count=rows.count)
        keys = np.where(bad, "", keys)
    elif values.dtype.kind in "iu":
        rows.columns[column.name] = values.astype(np.int64, copy=False)
        return
    else:
        numbers = _floats(column, values)
        absent = np.isnan(numbers)
        bad = ~np.isfinite(numbers) | (np.abs(numbers) > 2**53) | (numbers != np.floor(numbers))
        keys = np.where(bad, 0, numbers).astype(np.int64)
        if np.asarray(values).dtype == object:  # whole numbers beside a null: a float would round the large ones
            for at, value in enumerate(values):
                if isinstance(value, int) and -(2**63) <= value < 2**63:
                    keys[at], bad[at] = value, False
    if bad.any():
        rows.unkeyed[column.name] = bad
        if not column.required:
            bad = bad & ~absent
        if bad.any():
            rows.invalid[column.name] = bad
    rows.columns[column.name] = keys


def _put_time(rows: Rows, column: Column, values: np.ndarray | None, is_as_of: bool) -> None:
    if values is None:
        rows.columns[column.name] = rows.as_of.astype(np.float64) if is_as_of else np.full(rows.count, np.nan)
        return
    at = epochs_ms(values)
    bad = unread = at == NO_TIME
    if not some(unread):
        if is_as_of:
            rows.as_of = at
        rows.columns[column.name] = at.astype(np.float64)
        return
    if is_as_of:
        at = rows.as_of = np.where(unread, rows.as_of, at)
    if not column.required:  # what is optional may be null, but a time must be known in the end
        bad = unread & (~_null(values) | (is_as_of & (at == NO_TIME)))
    if bad.any():
        rows.invalid[column.name] = bad
    rows.columns[column.name] = np.where(at == NO_TIME, np.nan, at)


def _null(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "M":
        return np.isnat(values)
    return np.fromiter((value is None or value in ("", b"") for value in values), dtype=bool, count=len(values))


def _floats(column: Column, values: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as wrong:
        raise RowsError(f"column {column.name!r} holds values that are not numbers, needs {column.dtype}") from wrong

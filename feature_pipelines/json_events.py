"""Events in JSON, one object each: from bytes to raw columns.

Where the columns' dtypes are declared a typed parser reads an event without making a dictionary
of it; an event that is not as declared is read again with fewer types and then with none, so that
what becomes of it never depends on its neighbours. Work is done in pieces that fit the
processor's cache, and numbers become arrays while they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import orjson

Values = Sequence[bytes | None]
Read = tuple[dict[str, Any], dict[int, str]]
_PIECE = 512  # events
_FEW = 32  # events whose values are looked at one by one later, so that arrays of them are no gain
#: What the values of a column are as a rule, and the dtype of an array of them.
_STRICT: dict[str, Any] = {"float64": float | None, "int64": int | None, "bool": bool | None, "string": str | None}
_ARRAYS: dict[str, Any] = {"float64": np.float64, "int64": np.int64, "bool": np.float64}
#: What a value may be for the typed parser: all that a column's decoding may yet accept.
_TYPES: dict[str, Any] = {
    "float64": float | str | None,
    "int64": int | float | str | None,
    "bool": bool | int | float | str | None,
    "string": str | int | float | bool | None,
    "timestamp": int | float | str | None,
}


class JsonReader:
    """Reads the named columns of events; `dtypes` are their declared ones, where they are known.

    >>> JsonReader(("amount",)).read([b'{"amount": 2.5, "note": "x"}', b"[]", None])
    ({'amount': [2.5, None, None]}, {1: 'the event is a JSON list, needs an object', 2: 'the event is empty'})
    """

    def __init__(self, names: Sequence[str], dtypes: Mapping[str, str] | None = None) -> None:
        self._names = tuple(names)
        kinds = [dtypes[name] if dtypes else "" for name in names]
        self._arrays = [_ARRAYS.get(kind) for kind in kinds]
        self._strict = self._loose = self._untyped = _decoder(self._names, [Any] * len(self._names))
        if dtypes:
            self._strict = _decoder(self._names, [_STRICT.get(kind, _TYPES[kind]) for kind in kinds])
            self._loose = _decoder(self._names, [_TYPES[kind] for kind in kinds])

    def read(self, values: Values) -> Read:
        """Return the columns of these events, each [n], and why each unreadable one, blank in all of them, is.

        A column is a list of raw values, or an array of numbers of which NaN is null.
        """
        columns: list[list[Any]] = [[] for _ in self._names]
        unreadable: dict[int, str] = {}
        for start in range(0, len(values), _PIECE):
            parts, strict = self._piece(values[start : start + _PIECE], start, unreadable)
            arrays = self._arrays if strict and len(values) > _FEW else repeat(None)
            for column, part, dtype in zip(columns, parts, arrays, strict=False):
                column.append(_array(part, dtype) if dtype else part)
        return dict(zip(self._names, map(_joined, columns), strict=True)), unreadable

    def _piece(self, piece: Values, start: int, unreadable: dict[int, str]) -> tuple[Iterable[Any], bool]:
        """Return the columns of a piece, and whether every value is of its column's kind."""
        for decode in dict.fromkeys((self._strict, self._loose, self._untyped)):
            with suppress(*_UNREAD):
                rows = [_tuple(decode(value)) for value in piece]  # type: ignore[arg-type]
                return zip(*rows, strict=True), decode is self._strict
        return zip(*[self._row(value, at, unreadable) for at, value in enumerate(piece, start)], strict=True), False

    def _row(self, value: bytes | None, at: int, unreadable: dict[int, str]) -> tuple[Any, ...]:
        try:
            return _tuple(self._untyped(value))  # type: ignore[arg-type]
        except _UNREAD:
            row = object_of(value, at, unreadable)
            return tuple(map(row.get, self._names))


def _array(values: Sequence[Any], dtype: Any) -> Any:
    try:
        return np.array(values, dtype)
    except (TypeError, OverflowError):  # a null among whole numbers, or one of more than 64 bits
        return values


def _joined(parts: list[Any]) -> Any:
    if parts and all(isinstance(part, np.ndarray) for part in parts):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    return [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


_tuple = msgspec.structs.astuple
_UNREAD = (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError)


def _decoder(names: Sequence[str], kinds: Sequence[Any]) -> Callable[[bytes], Any]:
    fields = [(f"f{at}", kind, None) for at, kind in enumerate(kinds)]
    renamed = {f"f{at}": name for at, name in enumerate(names)}
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(
        msgspec.defstruct("Event", fields, rename=renamed, gc=False)
    ).decode
    return decode


_CALLED = {list: "list", str: "string", int: "number", float: "number", bool: "truth value", type(None): "null"}


def object_of(value: bytes | None, at: int, unreadable: dict[int, str], called: str = "event") -> dict[str, Any]:
    """Return one JSON object, empty where there is none; `unreadable[at]` then says why."""
    if not value:
        unreadable[at] = f"the {called} is empty"
        return {}
    try:
        row = orjson.loads(value)
    except orjson.JSONDecodeError:
        unreadable[at] = f"the {called} is not JSON"
        return {}
    if not isinstance(row, dict):
        unreadable[at] = f"the {called} is a JSON {_CALLED[type(row)]}, needs an object"
        return {}
    return row

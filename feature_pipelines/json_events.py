"""Events in JSON, one object each: from bytes to raw columns.

Where the columns' dtypes are declared a typed parser reads an event without making a dictionary
of it; an event that is not as declared is read again without types, so that what becomes of
it never depends on its neighbours. Work is done in pieces that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import orjson

Values = Sequence[bytes | None]
Read = tuple[dict[str, list[Any]], dict[int, str]]
_PIECE = 512  # events
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
        self._untyped = _decoder(self._names, [Any] * len(self._names))
        self._decode = _decoder(self._names, [_TYPES[dtypes[name]] for name in names]) if dtypes else self._untyped

    def read(self, values: Values) -> Read:
        """Return the columns of these events, each [n], and why each unreadable one, blank in all of them, is."""
        columns: list[list[Any]] = [[] for _ in self._names]
        unreadable: dict[int, str] = {}
        for start in range(0, len(values), _PIECE):
            rows = self._rows(values[start : start + _PIECE], start, unreadable)
            for column, part in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(part)
        return dict(zip(self._names, columns, strict=True)), unreadable

    def _rows(self, piece: Values, start: int, unreadable: dict[int, str]) -> list[tuple[Any, ...]]:
        for decode in (self._decode, self._untyped):
            with suppress(*_UNREAD):
                return [_tuple(decode(value)) for value in piece]  # type: ignore[arg-type]
        return [self._row(value, at, unreadable) for at, value in enumerate(piece, start)]

    def _row(self, value: bytes | None, at: int, unreadable: dict[int, str]) -> tuple[Any, ...]:
        try:
            return _tuple(self._untyped(value))  # type: ignore[arg-type]
        except _UNREAD:
            row = object_of(value, at, unreadable)
            return tuple(map(row.get, self._names))


_tuple = msgspec.structs.astuple
_UNREAD = (msgspec.DecodeError, TypeError, UnicodeDecodeError)


def _decoder(names: Sequence[str], kinds: Sequence[Any]) -> Callable[[bytes], Any]:
    fields = [(f"f{at}", kind, None) for at, kind in enumerate(kinds)]
    renamed = {f"f{at}": name for at, name in enumerate(names)}
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(
        msgspec.defstruct("Event", fields, rename=renamed, gc=False)
    ).decode
    return decode


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
        unreadable[at] = f"the {called} is a JSON {type(row).__name__}, needs an object"
        return {}
    return row

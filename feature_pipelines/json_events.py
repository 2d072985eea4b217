"""Events in JSON, one object each: from bytes to raw columns.

Where the columns' dtypes are declared a typed parser reads an event without making a dictionary
of it; an event that is not as declared is read again without types, so that what becomes of
it never depends on its neighbours. Work is done in pieces that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "bool": bool | int | str | None,
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
        kinds = [_TYPES[dtypes[name]] if dtypes else Any for name in self._names]
        fields = [(f"f{at}", kind, None) for at, kind in enumerate(kinds)]
        renamed = {f"f{at}": name for at, name in enumerate(self._names)}
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Event", fields, rename=renamed, gc=False)).decode

    def read(self, values: Values) -> Read:
        """Return the columns of these events, each [n], and why each unreadable one, blank in all of them, is."""
        columns: list[list[Any]] = [[] for _ in self._names]
        unreadable: dict[int, str] = {}
        for start in range(0, len(values), _PIECE):
            piece = values[start : start + _PIECE]
            try:
                rows = [_tuple(self._decode(value)) for value in piece]  # type: ignore[arg-type]
            except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
                rows = [self._row(value, at, unreadable) for at, value in enumerate(piece, start)]
            for column, part in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(part)
        return dict(zip(self._names, columns, strict=True)), unreadable

    def _row(self, value: bytes | None, at: int, unreadable: dict[int, str]) -> tuple[Any, ...]:
        try:
            return _tuple(self._decode(value))  # type: ignore[arg-type]
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
            row = object_of(value, at, unreadable)
            return tuple(map(row.get, self._names))


_tuple = msgspec.structs.astuple


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

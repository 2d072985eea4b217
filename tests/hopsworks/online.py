"""The online rows: one table per feature group, by primary key, with each value checked against its column's type.

Values are Python's: int, float, str, bytes, bool; a timestamp is epoch milliseconds, a date epoch days, null None.
What RonDB REST tells of a row is encoded once per row and view, and thrown away when the row changes.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Key = tuple[Any, ...]
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_INTEGERS = {"bigint": 64, "int": 32, "smallint": 16, "tinyint": 8}


class NotARowError(ValueError):
    """A row is not one of its table; the text says which column and why, and holds no value."""


@dataclass(slots=True)
class Table:
    """The rows of one feature group; `of_view` are encoded pieces of rows, by view and key."""

    columns: dict[str, str]
    key: tuple[str, ...]
    event_time: str | None = None
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict)
    of_view: dict[int, dict[Key, bytes]] = field(default_factory=dict)
    ingested: int = 0
    changed: dict[Key, dict[str, Any] | None] = field(default_factory=dict)

    def key_of(self, row: Mapping[str, Any]) -> Key:
        """Return a row's primary key."""
        return tuple(row[name] for name in self.key)

    def checked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with every column; raises NotARowError for another name, type or a key's null."""
        unknown = row.keys() - self.columns.keys()
        if unknown:
            raise NotARowError(f"columns {', '.join(sorted(unknown))} are not of this table")
        full = {name: _value(name, kind, row.get(name)) for name, kind in self.columns.items()}
        for name in self.key:
            if full[name] is None:
                raise NotARowError(f"key {name} is null")
        return full

    def upsert(self, row: Mapping[str, Any], *, if_newer: bool = False) -> None:
        """Put a row in place of that with its key; an older one is passed over where asked."""
        full = self.checked(row)
        key = self.key_of(full)
        had = self.rows.get(key)
        if if_newer and had is not None and self.event_time and had[self.event_time] >= full[self.event_time]:
            return
        self.rows[key] = self.changed[key] = full
        self._forget(key)

    def delete(self, key: Key) -> None:
        """Take a row away; one that is not there is fine."""
        self.rows.pop(key, None)
        self.changed[key] = None
        self._forget(key)

    def encoded(self, view: int, key: Key, columns: Sequence[str]) -> bytes | None:
        """Return the row's columns as the inner part of a JSON list, null for one not stored; None if absent."""
        pieces = self.of_view.setdefault(view, {})
        piece = pieces.get(key)
        if piece is None and (row := self.rows.get(key)) is not None:
            told = [TOLD.get(self.columns.get(name, ""), _as_is)(row.get(name)) for name in columns]
            piece = pieces[key] = orjson.dumps(told)[1:-1]
        return piece

    def _forget(self, key: Key) -> None:
        for pieces in self.of_view.values():
            pieces.pop(key, None)


class OnlineStore:
    """Every table, by its feature group's number."""

    def __init__(self) -> None:
        self.tables: dict[int, Table] = {}

    def declare(self, group: int, columns: dict[str, str], key: Sequence[str], event_time: str | None) -> None:
        """Make a table, or add columns to it; what is stored has nulls there."""
        table = self.tables.get(group)
        if table is None:
            self.tables[group] = Table(dict(columns), tuple(key), event_time)
            return
        table.columns = dict(columns)
        table.rows = {at: {**dict.fromkeys(columns), **row} for at, row in table.rows.items()}
        table.of_view.clear()

    def changes(self) -> Iterator[tuple[int, dict[Key, dict[str, Any] | None]]]:
        """Yield what changed since this was last asked, by group; None is a row that is gone."""
        for group, table in self.tables.items():
            if table.changed:
                changed, table.changed = table.changed, {}
                yield group, changed

    def drop(self, group: int) -> None:
        """Take a table away with its rows."""
        self.clear(group)
        self.tables.pop(group, None)

    def clear(self, group: int) -> None:
        """Take every row of a table away."""
        if group in self.tables:
            self.tables[group].rows.clear()
            self.tables[group].changed.clear()
            self.tables[group].of_view.clear()


def _value(name: str, kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind in _INTEGERS:
        if type(value) is int and -(1 << _INTEGERS[kind] - 1) <= value < 1 << _INTEGERS[kind] - 1:
            return value
    elif kind in ("double", "float"):
        if type(value) in (int, float) and value - value == 0:
            return float(value)
    elif kind in ("timestamp", "date"):
        return _moment(name, kind, value)
    elif isinstance(value, {"boolean": bool, "binary": bytes}.get(kind, bytes if "<" in kind else str)):
        return value
    raise NotARowError(f"column {name} is {kind}, was {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    if isinstance(value, float) and value - value != 0:
        return "a float that is not finite"
    return type(value).__name__


def _moment(name: str, kind: str, value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return (aware - _EPOCH) // datetime.timedelta(milliseconds=1)
    if isinstance(value, datetime.date):
        return (value - _EPOCH.date()).days
    raise NotARowError(f"column {name} is {kind}, was {_kind_of(value)}")


def _timestamp(value: int | None) -> str | None:
    if value is None:
        return None
    moment = _EPOCH + datetime.timedelta(milliseconds=value)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f" if value % 1000 else "%Y-%m-%d %H:%M:%S")


def _date(value: int | None) -> str | None:
    return None if value is None else str(_EPOCH.date() + datetime.timedelta(days=value))


def _binary(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _boolean(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _as_is(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


#: How RonDB REST tells a value, by its column's type.
TOLD: dict[str, Callable[[Any], Any]] = {
    "timestamp": _timestamp,
    "date": _date,
    "binary": _binary,
    "boolean": _boolean,
}

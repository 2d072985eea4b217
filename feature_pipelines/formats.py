"""From the bytes of one message to the raw columns of many: JSON and Avro.

A reader makes columns of values, equally long, that `feature_pipelines.events.decode` takes on;
a message it cannot read is blank in every column and named with the reason.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.request import urlopen

import fastavro

from feature_pipelines.files import SourceError
from feature_pipelines.json_events import JsonReader, Read, Values

_REGISTRY_S = 10.0
_EMPTY = "the event is empty"
_PREFIX = struct.Struct(">bI")  # the registry's framing: a zero byte and the schema's number


class Reader(Protocol):
    """Reads the messages of one stream."""

    def read(self, values: Values) -> Read:
        """Return the columns of the messages, each [n], and why each unreadable one is."""
        ...


class AvroReader:
    """One Avro record a message, written under a schema of a file, or of a registry by its number.

    With a registry each message begins with the number of its schema, and a writer may change
    the schema as it likes: columns are found by name.
    """

    def __init__(self, names: Sequence[str], schema: Path | None = None, registry: str = "") -> None:
        """Raises SourceError for a schema that cannot be read, and where neither or both are given."""
        if (schema is None) == (not registry):
            raise SourceError("Avro events have no schema of their own, need either a schema file or a registry's URL")
        self._names = tuple(names)
        self._registry = registry.rstrip("/")
        self._schemas: dict[int, Any] = {}
        self._schema = _parsed(schema.name, _text(schema)) if schema else None

    def read(self, values: Values) -> Read:
        """Return the columns of these messages; raises SourceError where the registry does not answer."""
        unreadable: dict[int, str] = {}
        rows = [self._record(value, at, unreadable) for at, value in enumerate(values)]
        return _columns(rows, self._names), unreadable

    def _record(self, value: bytes | None, at: int, unreadable: dict[int, str]) -> Mapping[str, Any]:
        if not value:
            unreadable[at] = _EMPTY
            return {}
        try:
            schema, body = self._framed(value)
            row = fastavro.schemaless_reader(body, schema, None)
        except _Unframed as unframed:
            unreadable[at] = str(unframed)
            return {}
        except (EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, StopIteration):
            unreadable[at] = "the event is not of its Avro schema"
            return {}
        if body.read(1):
            unreadable[at] = "the event is longer than its Avro schema"
            return {}
        if not isinstance(row, dict):
            unreadable[at] = "the event's Avro schema is no record"
            return {}
        return row

    def _framed(self, value: bytes) -> tuple[Any, io.BytesIO]:
        if self._schema is not None:
            return self._schema, io.BytesIO(value)
        if len(value) < _PREFIX.size or value[0] != 0:
            raise _Unframed("the event does not begin with the number of its schema")
        number = _PREFIX.unpack_from(value)[1]
        if number not in self._schemas:
            self._schemas[number] = self._fetched(number)
        return self._schemas[number], io.BytesIO(value[_PREFIX.size :])

    def _fetched(self, number: int) -> Any:
        try:
            with urlopen(f"{self._registry}/schemas/ids/{number}", timeout=_REGISTRY_S) as answer:
                text = json.load(answer)["schema"]
        except (OSError, HTTPException, KeyError, TypeError, ValueError) as away:
            if getattr(away, "code", None) == 404:
                raise _Unframed(f"the registry has no schema {number}") from away
            raise SourceError(f"the schema registry did not give schema {number}: {away}") from away
        try:
            return _parsed(f"schema {number}", text)
        except SourceError as foreign:  # JSON Schema or Protobuf: an event of another stream, and no end of this one
            raise _Unframed(str(foreign)) from foreign


class _Unframed(Exception):
    pass


FORMATS = ("json", "avro")


def reader_of(
    kind: str,
    names: Sequence[str],
    schema: Path | None = None,
    registry: str = "",
    dtypes: Mapping[str, str] | None = None,
) -> Reader:
    """Return a reader of one of FORMATS; `dtypes` are those declared for the names, and make JSON faster.

    Raises SourceError for another format, and for a schema that JSON has no use for.
    """
    if kind not in FORMATS:
        raise SourceError(f"events have format {kind!r}, need one of {', '.join(FORMATS)}")
    if kind == "avro":
        return AvroReader(names, schema, registry)
    if schema or registry:
        raise SourceError("JSON events have no schema, a schema file or a registry needs the format avro")
    return JsonReader(names, dtypes)


def _text(schema: Path) -> str:
    try:
        return schema.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as away:
        raise SourceError(f"the schema {str(schema)!r} cannot be read: {away}") from away


def _parsed(name: str, text: str) -> Any:
    try:
        parsed = fastavro.parse_schema(json.loads(text))
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError,
        fastavro.schema.SchemaParseException, fastavro.schema.UnknownType,
    ) as wrong:  # fmt: skip
        raise SourceError(f"{name} is no Avro schema: {wrong}") from wrong
    if _recurs(parsed, ()):
        raise SourceError(
            f"{name} refers to itself, and a message of it could be nested without end: needs one that does not"
        )
    return parsed


def _recurs(schema: Any, within: tuple[str, ...]) -> bool:
    if isinstance(schema, str):
        return schema in within
    if isinstance(schema, list):
        return any(_recurs(branch, within) for branch in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") in ("record", "error"):
        inside = (*within, schema["name"])
        return any(_recurs(field["type"], inside) for field in schema["fields"])
    return any(_recurs(schema.get(part), within) for part in ("type", "items", "values"))


def _object(row: Any, at: int, unreadable: dict[int, str]) -> Mapping[str, Any]:
    if isinstance(row, dict):
        return row
    unreadable[at] = f"the event is an Avro {type(row).__name__}, needs a record"
    return {}


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}

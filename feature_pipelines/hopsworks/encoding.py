"""Rows of a feature group as Avro, all of a batch at once.

Hopsworks takes one message a row: an Avro record without a header, of the schema that the cluster
keeps for the feature group. The schema is read once and compiled: neighbouring columns of doubles
are written as one block of bytes for all rows, so that a row costs a join of few parts. NaN, and
None of text, are written as null. What the schema holds beside our columns must be nullable, and is
written as null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from headrace.hopsworks.declared import Feature, FeatureGroup
from headrace.hopsworks.rows import Rows

#: The Avro types that a feature's type in Hopsworks may have in the schema of its feature group.
AVRO = {
    "double": ("double",),
    "bigint": ("long",),
    "boolean": ("boolean",),
    "timestamp": ("timestamp-micros", "timestamp-millis"),
    "string": ("string",),
    "binary": ("bytes",),
}
_NULLABLE = ("double", "boolean", "string")
_VARINT = 10  # bytes of the longest
_DOUBLE = 8  # bytes

Part = Callable[[Rows, int], list[bytes]]


class SchemaMismatch(ValueError):
    """The cluster's schema of a feature group is not what the declaration needs; the text says what differs."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    branch: bytes = b""  # that of a value, where it is a union with null
    null: bytes = b""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes rows of one feature group under the schema that its cluster has."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, feature_group: FeatureGroup, schema: str) -> Encoder:
        """Compile a schema, Avro's JSON text; raises SchemaMismatch where our columns do not fit it."""
        fields = [_field(feature_group, raw) for raw in _fields(feature_group, schema)]
        _check(feature_group, fields)
        ours = {feature.name: feature for feature in feature_group.features}
        parts: list[Part] = []
        for kind, run in groupby(fields, key=lambda field: _kind(ours.get(field.name))):
            parts += _parts(kind, list(run))
        return cls(tuple(parts))

    def encode(self, rows: Rows, count: int) -> list[bytes]:
        """Return the messages of `count` rows, whose columns are as `rows_of` makes them."""
        return list(map(b"".join, zip(*(part(rows, count) for part in self.parts), strict=True)))


def _fields(feature_group: FeatureGroup, schema: str) -> list[dict[str, Any]]:
    try:
        read = json.loads(schema)
        fields = read["fields"] if read["type"] == "record" else None
    except (ValueError, KeyError, TypeError):
        fields = None
    if not isinstance(fields, list) or not all(
        isinstance(raw, dict) and {"name", "type"} <= raw.keys() for raw in fields
    ):
        raise SchemaMismatch(f"the cluster's schema of {_called(feature_group)} is no Avro record, needs one")
    return fields


def _field(feature_group: FeatureGroup, raw: dict[str, Any]) -> _Field:
    kinds = raw["type"] if isinstance(raw["type"], list) else [raw["type"]]
    named = [_named(kind) for kind in kinds]
    values = [kind for kind in named if kind != "null"]
    if len(values) != 1 or len(named) > 2:
        return _Field(str(raw["name"]), " or ".join(named))
    if len(named) == 1:
        return _Field(str(raw["name"]), values[0])
    branches = [_long(at) for at in range(2)]
    null = named.index("null")
    return _Field(str(raw["name"]), values[0], branches[1 - null], branches[null])


def _named(kind: Any) -> str:
    if isinstance(kind, dict):
        return str(kind.get("logicalType") or kind.get("type"))
    return str(kind)


def _check(feature_group: FeatureGroup, fields: Sequence[_Field]) -> None:
    held = {field.name: field for field in fields}
    wrong = [f"it lacks {f.name}" for f in feature_group.features if f.name not in held]
    for feature in feature_group.features:
        field = held.get(feature.name)
        if field and field.type not in AVRO[feature.type]:
            wrong.append(f"{feature.name} is {field.type}, was to be {AVRO[feature.type][0]}")
        elif field and not field.null and feature.type in _NULLABLE and not feature.primary:
            wrong.append(f"{feature.name} cannot be null")
    ours = {feature.name for feature in feature_group.features}
    wrong += [f"{f.name} is not ours and cannot be null" for f in fields if f.name not in ours and not f.null]
    if wrong:
        raise SchemaMismatch(
            f"the cluster's schema of {_called(feature_group)} is another one ({'; '.join(wrong)}): "
            "run `headrace hopsworks plan` to see what differs, then apply it or declare a new version"
        )


def _called(feature_group: FeatureGroup) -> str:
    return f"{feature_group.name}, version {feature_group.version},"


def _kind(feature: Feature | None) -> str:
    return feature.type if feature else "absent"


def _parts(kind: str, fields: Sequence[_Field]) -> list[Part]:
    if kind == "absent":
        nulls = b"".join(field.null for field in fields)
        return [lambda _, count: [nulls] * count]
    if kind == "double":
        return [_doubles(fields)]
    return [_WRITERS[kind](field) for field in fields]


def _doubles(fields: Sequence[_Field]) -> Part:
    names = [field.name for field in fields]
    value = np.frombuffer(b"".join(field.branch for field in fields), np.uint8)
    null = np.frombuffer(b"".join(field.null for field in fields), np.uint8)

    def part(rows: Rows, count: int) -> list[bytes]:
        values = np.column_stack([np.asarray(rows[name], "<f8") for name in names]).reshape(count, len(names))
        absent = np.isnan(values)
        out = np.empty((count, len(names), 1 + _DOUBLE), np.uint8)
        out[:, :, 0] = np.where(absent, null, value)
        out[:, :, 1:] = values.view(np.uint8).reshape(count, len(names), _DOUBLE)
        kept = np.ones(out.shape, bool)
        kept[:, :, 1:] = ~absent[:, :, None]
        width = len(names) * (1 + _DOUBLE)
        return _split(out.reshape(count, width), kept.reshape(count, width))

    return part


def _longs(field: _Field, scale: int = 1) -> Part:
    def part(rows: Rows, _: int) -> list[bytes]:
        return [field.branch + text for text in varints(np.asarray(rows[field.name], np.int64) * scale)]

    return part


def _timestamps(field: _Field) -> Part:
    return _longs(field, 1000 if field.type == "timestamp-micros" else 1)


def _booleans(field: _Field) -> Part:
    values = field.branch + b"\0", field.branch + b"\1"
    return lambda rows, _: [field.null if value != value else values[bool(value)] for value in rows[field.name]]


def _texts(field: _Field) -> Part:
    def part(rows: Rows, _: int) -> list[bytes]:
        return [
            field.null if value is None else field.branch + _sized(str(value).encode()) for value in rows[field.name]
        ]

    return part


def _binaries(field: _Field) -> Part:
    return lambda rows, _: [field.branch + _sized(value) for value in rows[field.name]]


_WRITERS: dict[str, Callable[[_Field], Part]] = {
    "bigint": _longs,
    "boolean": _booleans,
    "timestamp": _timestamps,
    "string": _texts,
    "binary": _binaries,
}


def _sized(value: bytes) -> bytes:
    return _long(len(value)) + value


def _long(value: int) -> bytes:
    """Write a long that is not negative."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varints(values: np.ndarray) -> list[bytes]:
    """Return Avro's longs of int64 [n]: zigzag, then seven bits a byte, the lowest first.

    >>> varints(np.array([0, -1, 64]))
    [b'\\x00', b'\\x01', b'\\x80\\x01']
    """
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    sevens = zigzag[:, None] >> np.arange(0, 7 * _VARINT, 7, dtype=np.uint64)
    kept = sevens > 0
    kept[:, 0] = True
    out = (sevens & np.uint64(0x7F)).astype(np.uint8)
    out[:, :-1] |= kept[:, 1:].astype(np.uint8) << 7
    return _split(out, kept)


def _split(bytes_of: np.ndarray, kept: np.ndarray) -> list[bytes]:
    """Return of each row the bytes that are kept, both [n, width]."""
    bounds = np.concatenate(([0], np.cumsum(np.count_nonzero(kept, axis=1)))).tolist()
    flat = bytes_of[kept].tobytes()
    return [flat[first:last] for first, last in pairwise(bounds)]

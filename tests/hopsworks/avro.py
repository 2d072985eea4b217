"""The Avro schema of a feature group's messages, as the schema registry of a cluster has it."""

from __future__ import annotations

from typing import Any

import orjson

_SIMPLE = {
    "double": "double",
    "float": "float",
    "bigint": "long",
    "int": "int",
    "smallint": "int",
    "tinyint": "int",
    "boolean": "boolean",
    "string": "string",
    "binary": "bytes",
    "date": {"type": "int", "logicalType": "date"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
}


def schema_of(group: dict[str, Any]) -> str:
    """Return a record of every feature, each nullable, also those of on-demand functions."""
    fields = [{"name": f["name"], "type": ["null", _kind(f["type"])]} for f in group["features"]]
    name = f"{group['name']}_{group['version']}"
    record = {"type": "record", "name": name, "namespace": group["featurestoreName"], "fields": fields}
    return orjson.dumps(record).decode()


def _kind(kind: str) -> Any:
    if kind.startswith("array<"):
        return {"type": "array", "items": ["null", _kind(kind[6:-1])]}
    if kind.startswith("map<string,"):
        return {"type": "map", "values": ["null", _kind(kind[11:-1].strip())]}
    return _SIMPLE.get(kind, "bytes")

"""The Avro schemas that a cluster keeps of feature groups, as these tests need them."""

from __future__ import annotations

import json
from typing import Any

from headrace.hopsworks.declared import FeatureGroup

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
AVRO: dict[str, Any] = {
    "double": "double",
    "bigint": "long",
    "boolean": "boolean",
    "timestamp": MICROS,
    "string": "string",
    "binary": "bytes",
}


def schema_of(of: FeatureGroup, extra: tuple[str, ...] = (), **types: Any) -> str:
    """Return a feature group's schema; `types` replace those of named columns, None takes one away."""
    fields = [(feature.name, ["null", AVRO[feature.type]]) for feature in of.features]
    fields += [(name, ["null", "double"]) for name in extra]
    told = [{"name": name, "type": types.get(name, kind)} for name, kind in fields]
    return json.dumps({"type": "record", "name": of.name, "fields": [f for f in told if f["type"] is not None]})

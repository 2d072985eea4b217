"""Predictions as plain data: what a message holds, and what is shown of one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.predictions.columns import VIEW

Record = dict[str, Any]


def records_of(table: pa.Table) -> Iterator[Record]:
    """Give each row of a table as JSON can hold it: instants as ISO 8601, what is missing as None.

    >>> next(records_of(pa.table({"row": [0], "outputs": pa.StructArray.from_arrays([pa.array([0.5])], ["p"])})))
    {'row': 0, 'outputs': {'p': 0.5}}
    """
    names, lists = table.column_names, [_values(column.combine_chunks()) for column in table.columns]
    for values in zip(*lists, strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        fields = [_values(part) for part in column.flatten()]
        return [dict(zip(names, row, strict=True)) for row in zip(*fields, strict=True)] or [{}] * len(column)
    if pa.types.is_timestamp(kind):
        return [None if at is None else iso_of(at) for at in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_floating(kind):
        numbers = column.to_numpy(zero_copy_only=False)
        missing = np.isnan(numbers)
        found = numbers.tolist()
        for at in np.flatnonzero(missing):
            found[at] = None
        return found
    return column.to_pylist()


def iso_of(epoch_ms: int) -> str:
    """Return an instant as ISO 8601, UTC, in milliseconds.

    >>> iso_of(1_700_000_000_000)
    '2023-11-14T22:13:20.000Z'
    """
    return str(np.datetime64(epoch_ms, "ms")) + "Z"


@dataclass(frozen=True, slots=True)
class Described:
    """What a log says of a feature: where it comes from, its unit, and what stands for a missing value."""

    source: str = ""
    unit: str = ""
    missing: float | None = None
    meaning: str = ""

    @property
    def group(self) -> str:
        """The group whose windows it is of; empty where it is the request's or computed."""
        origin = self.source.partition(".")[0]
        return "" if origin == "request" or ":" in origin else origin


def described(schema: pa.Schema) -> Mapping[str, Described]:
    """Return what a file's schema says of each feature; nothing where it was written by somebody else."""
    try:
        said = json.loads((schema.metadata or {}).get(VIEW, b"{}"))
    except ValueError:
        return {}
    return {
        column["name"]: Described(column["source"], column["unit"], column["missing"], column["meaning"])
        for column in said.get("columns", ())
    }


def stands_for_missing(value: float | None, of: Described, ages: Mapping[str, float | None]) -> bool:
    """Tell whether the model saw this value because there was none.

    A stored feature is missing where its group has no events of the key; others where they have the declared value,
    unless that is 0, which may well have been counted.

    >>> stands_for_missing(-1.0, Described("request.amount", missing=-1.0), {})
    True
    """
    if of.group and of.group in ages and ages[of.group] is None:
        return True
    if value is None or of.missing is None:
        return value is None
    return bool(of.missing) and math.isclose(value, of.missing, rel_tol=1e-6)


def moment(text: str) -> datetime:
    """Return the instant of a record's `at`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))

"""From the tensors of a request to the view's typed columns, and back to a status per row.

A fault of the request as a whole (an unknown column, a wrong datatype, unequal lengths) refuses it.
A fault of one row marks that row; only when no row is left is the request refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.features import FeatureView
from headrace.features.columns import Column
from headrace.features.rows import Rows, RowsError, conform, nearest
from headrace.open_inference.errors import InvalidRequest, TooLarge
from headrace.open_inference.tensors import Tensor
from headrace.stores.online import Block

#: Of how many columns an example is shown.
LONGEST_EXAMPLE = 3
#: How much of an unknown name is said back.
LONGEST_NAME = 100

#: Which datatypes of the protocol a declared dtype may arrive as; the first is what metadata says.
ACCEPTED: dict[str, tuple[str, ...]] = {
    "float64": ("FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"),
    "int64": ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"),
    "bool": ("BOOL", "INT64", "INT32", "INT8", "UINT8", "FP32", "FP64"),
    "timestamp": ("INT64", "UINT64", "BYTES"),
    "string": ("BYTES",),
}


def rows_of(view: FeatureView, inputs: Mapping[str, Tensor], now_ms: int, most: int) -> Rows:
    """Return the typed columns of a request.

    Each tensor is [n] or [n, 1]. Raises InvalidRequest for tensors that do not fit the view
    or when no row can be answered, and TooLarge for more than `most` rows.
    """
    columns = {name: _column(view, tensor, most) for name, tensor in inputs.items()}
    try:
        rows = conform(view, columns, now_ms)
    except RowsError as unfit:
        raise InvalidRequest(str(unfit).replace("column", "input", 1)) from unfit
    if not rows.count:
        raise InvalidRequest("the request has 0 rows, needs at least 1")
    if rows.invalid and rows.spoiled().all():
        raise InvalidRequest(f"no row can be answered: {'; '.join(map(_needs, _invalid(view, rows)))}")
    return rows


def tensors_of(view: FeatureView, instances: Any, most: int = 10_000) -> dict[str, Tensor]:
    """Return v1 instances, a list of objects, as one tensor per column; null is missing.

    Raises InvalidRequest where they are not a list of objects, name an unknown column, or hold a
    value that is not of its column's kind, and TooLarge for more than `most` of them. Nothing is
    built before the names and the number of rows are known to fit.
    """
    if instances == []:
        raise InvalidRequest("'instances' has 0 rows, needs at least 1")
    if not isinstance(instances, list) or not all(isinstance(row, dict) for row in instances):
        needed = [column.name for column in view.request if column.required] or list(view.request_names)
        shown = ", ".join(f'"{name}": ...' for name in needed[:LONGEST_EXAMPLE])
        raise InvalidRequest(f"'instances' is not a list of objects, needs one object per row such as {{{shown}}}")
    if len(instances) > most:
        raise TooLarge(f"'instances' has {len(instances)} rows, needs at most {most}")
    known = {column.name: column for column in view.request}
    names: dict[str, None] = {}
    for row in instances:
        if not row.keys() <= known.keys():
            raise _unknown(next(name for name in row if name not in known), view)
        names.update(dict.fromkeys(row))
    columns = {name: [row.get(name) for row in instances] for name in names}
    return {
        name: _instance_tensor(known[name], values)
        for name, values in columns.items()
        if not _all_null(known[name], values)
    }


def _unknown(name: str, view: FeatureView) -> InvalidRequest:
    shown = name[:LONGEST_NAME]
    known = view.request_names
    return InvalidRequest(f"input {shown!r} is unknown, needs one of {', '.join(known)}{nearest(shown, known)}")


def status_of(rows: Rows, blocks: Mapping[str, Block]) -> np.ndarray:
    """Return what was wrong with each row as text, `ok` where nothing was; object array of bytes [n].

    `amount invalid`: the value could not be used and is missing. `card_activity missing`: the store
    has no such key. `card_activity approximate`: the row's instant is not after the key's newest event.
    `card_activity stale`: the store failed, these are from before. `card_activity default`: it failed, and
    every column of the group has its declared missing value.
    """
    said: list[list[str]] = [[] for _ in range(rows.count)]
    for name, marks in rows.invalid.items():
        for at in np.flatnonzero(marks):
            said[at].append(f"{name} invalid")
    for name, block in blocks.items():
        missing = ~block.found if block.default is None else ~(block.found | block.default)
        marked = {"missing": missing, "approximate": ~block.exact, "stale": block.stale, "default": block.default}
        for word, rows_so in marked.items():
            for at in np.flatnonzero(rows_so) if rows_so is not None else ():
                said[at].append(f"{name} {word}")
    out = np.empty(rows.count, dtype=object)
    out[:] = [", ".join(parts).encode() or b"ok" for parts in said]
    return out


def _column(view: FeatureView, tensor: Tensor, most: int) -> np.ndarray:
    try:
        column = view.request_column(tensor.name)
    except KeyError:
        return tensor.array.reshape(-1)  # refused by name with its neighbours
    array, datatype = tensor.array, tensor.datatype
    if array.ndim != 1:
        if array.ndim != 2 or array.shape[1] != 1:
            raise InvalidRequest(f"input {tensor.name!r} has shape {list(array.shape)}, needs [n] or [n, 1]")
        array = array.reshape(-1)
    if len(array) > most:
        raise TooLarge(f"input {tensor.name!r} has {len(array)} rows, needs at most {most}")
    if datatype not in ACCEPTED[column.dtype]:
        raise InvalidRequest(
            f"input {tensor.name!r} has datatype {datatype}, needs one of {', '.join(ACCEPTED[column.dtype])}"
        )
    if datatype == "BYTES" and column.dtype != "timestamp":
        return np.array([text.decode("utf-8", "replace") for text in array], dtype=object)
    if datatype == "UINT64" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InvalidRequest(f"input {tensor.name!r} has values beyond INT64, needs at most 2^63 - 1")
    return array


def _all_null(column: Column, values: Sequence[Any]) -> bool:
    return not column.required and all(value is None for value in values)


def _instance_tensor(column: Column, values: Sequence[Any]) -> Tensor:
    name = column.name
    textual = column.dtype in ("timestamp", "string")
    kinds = {str, int, float} if textual else {bool, int, float} if column.dtype == "bool" else {int, float}
    for value in values:
        if value is not None and type(value) not in kinds:  # a truth value is no number
            raise InvalidRequest(f"{name!r} holds a {type(value).__name__} in an instance, needs {column.dtype}")
    if textual:
        texts = np.empty(len(values), dtype=object)
        texts[:] = [_text(value) for value in values]
        return Tensor(name, "BYTES", texts)
    if column.dtype != "int64":
        return Tensor(name, "FP64", np.array([_number(value) for value in values]))
    return Tensor(name, "INT64", np.array([_whole(name, value) for value in values], dtype=np.int64))


def _whole(name: str, value: int | float | None) -> int:
    if value is None:
        raise InvalidRequest(f"{name!r} is null in an instance, needs int64 in every one, or in none")
    if type(value) is float:
        if not value.is_integer() or abs(value) > 2**53:  # beyond it a float is no longer one whole number
            raise InvalidRequest(f"{name!r} is not whole in an instance, needs int64")
        return int(value)
    if not -(2**63) <= value < 2**63:
        raise InvalidRequest(f"{name!r} is beyond 64 bits in an instance, needs int64")
    return int(value)


def _text(value: Any) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # many a program writes an instant, or an id, as 1700000000000.0
    return ("" if value is None else str(value)).encode("utf-8", "replace")


def _number(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf  # marks its row, as any other infinity


def _invalid(view: FeatureView, rows: Rows) -> list[Column]:
    return [view.request_column(name) for name in rows.invalid]


def _needs(column: Column) -> str:
    if column.dtype == "timestamp":
        return f"{column.name} is not an instant, needs epoch milliseconds or ISO 8601"
    if column.dtype == "string":
        return f"{column.name} is empty, needs a key"
    if column.dtype == "bool":
        return f"{column.name} is neither true nor false, needs one of them, or 1 or 0"
    bounds = f" from {column.low:g} to {column.high:g}" if np.isfinite(column.low) else ""
    return f"{column.name} is missing, infinite or out of range, needs a number{bounds}"

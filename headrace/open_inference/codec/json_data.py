"""A tensor's elements as JSON: from parsed lists to an array, and from an array to lists.

Lists may be flat or nested as the shape says. Elements are checked by the set of their types and
converted by NumPy, never one by one. A `null` in FP32 or FP64 input means *missing* and becomes
NaN; anywhere else it is refused. FP16 and BF16 have no JSON form in the protocol.

JSON cannot say NaN or infinity: an output that holds one is refused in JSON, and is asked for with
`binary_data`. Writing null instead would give the reader a number that is not one.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from headrace.open_inference.codec.json_numbers import Numbers
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import BINARY_ONLY, DATATYPES, few_enough

_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "?": (frozenset({bool}), "true or false"),
    "u": (frozenset({int}), "integers"),
    "i": (frozenset({int}), "integers"),
    "f": (frozenset({int, float, type(None)}), "numbers"),
    "O": (frozenset({str}), "strings"),
}
_JSON_NAMES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}


_USUAL = {
    "FP64": (frozenset({float, int}), DATATYPES["FP64"]),
    "INT64": (frozenset({int}), DATATYPES["INT64"]),
}


def usual_array(item: dict[str, Any]) -> np.ndarray | None:
    """Return the array of a tensor as nearly all are: [n] of FP64 or INT64 in a flat list; None for any other.

    It gives what `array_of` gives, in a third of the time: that is felt where a request has many small tensors.
    """
    data, datatype = item.get("data"), item.get("datatype")
    if type(data) is Numbers:
        return data.usual_array(item)
    if type(data) is not list or type(datatype) is not str or datatype not in _USUAL:
        return None
    kinds, dtype = _USUAL[datatype]
    shape = item.get("shape")
    if shape != [len(data)] or type(shape[0]) is not int or "parameters" in item:
        return None
    if not kinds.issuperset(map(type, data)):
        return None
    try:
        return np.array(data, dtype)
    except OverflowError:
        return None


def array_of(name: str, datatype: str, shape: tuple[int, ...], size: int, data: Any) -> np.ndarray:
    """Return the array that a JSON `data` member describes, or say why it does not describe one."""
    if type(data) is Numbers and (array := data.array(datatype, shape, size)) is not None:
        return array
    if datatype in BINARY_ONLY:
        raise InvalidRequest(f"tensor {name!r} is {datatype} in JSON, needs binary data: {datatype} has no JSON form")
    if not isinstance(data, list):
        raise InvalidRequest(f"tensor {name!r} has no data that is a list, needs a flat or nested list, or binary data")
    if datatype == "BYTES":
        few_enough(name, size)
    flat = _flattened(name, shape, data)
    if len(flat) != size:
        raise InvalidRequest(f"tensor {name!r} has {len(flat)} elements, needs {size} for shape {list(shape)}")
    dtype = DATATYPES[datatype]
    allowed, needed = _KINDS["?" if datatype == "BOOL" else dtype.kind]
    kinds = set(map(type, flat))
    if not kinds <= allowed:
        found = ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in kinds - allowed))
        raise InvalidRequest(f"tensor {name!r} holds {found}, needs {needed} for {datatype}")
    return _converted(name, datatype, flat).reshape(shape)


def lists_of(name: str, datatype: str, array: np.ndarray) -> Any:
    """Return a flat form of an array that orjson writes, or say why JSON cannot hold it."""
    flat = np.ascontiguousarray(array, dtype=DATATYPES[datatype]).reshape(-1)
    if datatype == "BYTES":
        return _texts(name, flat)
    if datatype in BINARY_ONLY:
        raise InvalidRequest(f"output {name!r} is {datatype}, which has no JSON form: ask for it with binary_data true")
    if flat.dtype.kind == "f" and np.count_nonzero(np.isfinite(flat)) != flat.size:
        raise InvalidRequest(
            f"output {name!r} holds NaN or infinity, which JSON cannot say: ask for it with binary_data true"
        )
    return flat


def _flattened(name: str, shape: tuple[int, ...], data: list) -> list:
    depth = 0
    while data and type(data[0]) is list:
        if set(map(type, data)) != {list}:
            raise InvalidRequest(f"tensor {name!r} mixes lists and elements, needs lists nested as shape {list(shape)}")
        depth += 1
        if depth >= len(shape) or set(map(len, data)) != {shape[depth]} or len(data) != _product(shape[:depth]):
            raise InvalidRequest(f"tensor {name!r} has lists nested unlike its shape, needs shape {list(shape)}")
        data = list(chain.from_iterable(data))
    if depth and depth + 1 != len(shape) and data:
        raise InvalidRequest(f"tensor {name!r} has lists nested unlike its shape, needs shape {list(shape)}")
    return data


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _converted(name: str, datatype: str, flat: list) -> np.ndarray:
    if datatype == "BYTES":
        held = np.empty(len(flat), dtype=object)
        held[:] = [text.encode() for text in flat]
        return held
    try:
        if datatype == "FP32":
            with np.errstate(over="raise"):
                return np.array(flat, dtype=np.float64).astype(DATATYPES["FP32"])
        return np.array(flat, dtype=DATATYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise InvalidRequest(f"tensor {name!r} holds a number outside the range of {datatype}") from None


def _texts(name: str, flat: np.ndarray) -> list[str]:
    try:
        return [item.decode() if isinstance(item, bytes) else item for item in flat.tolist()]
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"output {name!r} holds bytes that are not UTF-8, which JSON cannot say: ask for it with binary_data true"
        ) from None

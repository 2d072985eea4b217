"""Valid requests for a model nobody told us about: made from its metadata, or read from a file.

Elements are kept flat and row-major, as plain Python values; BYTES as `bytes`. Open dimensions are as long as they
are told to be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: The datatypes of the protocol and how their elements lie in binary data; BF16 and BYTES have no NumPy type.
DATATYPES: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BF16": "<u2",
    "BYTES": "O",
}
#: Datatypes that travel as binary data alone.
BINARY_ONLY = ("FP16", "BF16")
_ONES = {"BOOL": True, "BYTES": b"1", "FP16": 0.5, "FP32": 0.5, "FP64": 0.5, "BF16": 0x3F00}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its elements flat and row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Any, ...]

    def described(self) -> dict[str, Any]:
        """Return name, shape and datatype as JSON has them."""
        return {"name": self.name, "shape": list(self.shape), "datatype": self.datatype}

    def in_json(self, nested: bool = False) -> dict[str, Any]:
        """Return the whole tensor as JSON has it, flat or nested as the shape says."""
        data: list[Any] = [each.decode() if isinstance(each, bytes) else each for each in self.data]
        return self.described() | {"data": _nested(data, self.shape) if nested else data}

    def raw(self) -> bytes:
        """Return the elements as binary data.

        >>> Tensor("key", "BYTES", (1,), (b"ab",)).raw()
        b'\\x02\\x00\\x00\\x00ab'
        """
        if self.datatype == "BYTES":
            return b"".join(len(each).to_bytes(4, "little") + each for each in self.data)
        return np.array(self.data, dtype=DATATYPES[self.datatype]).tobytes()


Sample = Sequence[Tensor]


def made(inputs: Any, rows: int) -> Sample:
    """Return a tensor for each input of a model's metadata; its first open dimension is `rows`, others are 1.

    Where the metadata has, in an input's `parameters`, an `example`, or a `minimum` and a `maximum`, its elements are
    that, or lie between. Raises ValueError where the metadata does not say what the model reads.

    >>> made([{"name": "x", "datatype": "FP32", "shape": [-1, 2]}], rows=1)
    [Tensor(name='x', datatype='FP32', shape=(1, 2), data=(0.5, 0.5))]
    """
    if not isinstance(inputs, list) or not inputs:
        raise ValueError("the model's metadata lists no inputs")
    return [_one(item, rows) for item in inputs]


def read(path: Path) -> tuple[Sample, dict[str, Any]]:
    """Return the tensors of a request in a JSON file, and its `parameters`; ValueError where it is none."""
    try:
        found = json.loads(path.read_text())
        tensors = [_given(item) for item in found["inputs"]]
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        needed = "a request of the protocol in JSON, with inputs of name, shape, datatype and data"
        raise ValueError(f"{path} is no request ({type(wrong).__name__}: {wrong}), needs {needed}") from None
    return tensors, found.get("parameters") or {}


def _one(item: Any, rows: int) -> Tensor:
    name, datatype, shape = (item.get(key) if isinstance(item, dict) else None for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or datatype not in DATATYPES or not isinstance(shape, list):
        raise ValueError("the model's metadata has an input without name, datatype or shape")
    lengths = [length if isinstance(length, int) else 1 for length in shape]
    sizes = tuple((rows if at == 0 else 1) if length < 0 else length for at, length in enumerate(lengths))
    return Tensor(name, datatype, sizes, (_element(datatype, item.get("parameters")),) * math.prod(sizes))


def _element(datatype: str, told: Any) -> Any:
    told = told if isinstance(told, dict) else {}
    example: Any = told.get("example")
    usual: Any = _ONES.get(datatype, 1)
    if datatype == "BYTES":
        return example.encode() if isinstance(example, str) else usual
    if datatype in ("BOOL", "BF16"):
        return usual
    kind: type = type(usual)
    if isinstance(example, int | float) and not isinstance(example, bool) and kind(example) == example:
        return kind(example)
    low, high = (told.get(bound) for bound in ("minimum", "maximum"))
    if isinstance(low, int | float) and usual < low:
        return kind(math.ceil(low) if kind is int else low)
    if isinstance(high, int | float) and usual > high:
        return kind(math.floor(high) if kind is int else high)
    return usual


def _given(item: dict[str, Any]) -> Tensor:
    data = tuple(each.encode() if isinstance(each, str) else each for each in _flat(item["data"]))
    shape = tuple(item["shape"])
    if item["datatype"] not in DATATYPES or len(data) != math.prod(shape):
        raise ValueError(f"input {item['name']!r} has {len(data)} elements of {item['datatype']} for shape {shape}")
    return Tensor(item["name"], item["datatype"], shape, data)


def _flat(data: Any) -> Iterator[Any]:
    if not isinstance(data, list):
        yield data
        return
    for each in data:
        yield from _flat(each)


def _nested(data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    if len(shape) < 2:
        return data
    each = math.prod(shape[1:])
    return [_nested(data[at * each : (at + 1) * each], shape[1:]) for at in range(shape[0])]

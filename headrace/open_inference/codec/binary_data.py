"""A tensor's elements as raw bytes: little-endian and row-major, the same over HTTP and gRPC.

Numbers are views into the bytes that arrived, not copies. BOOL is one byte, 0 or 1. Every BYTES
element is a little-endian u32 length followed by that many bytes. BF16 is widened and narrowed.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import numpy as np

from headrace.open_inference.codec import bfloat16
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import DATATYPES, few_enough

_LENGTH = struct.Struct("<I")
_USUAL = {name: DATATYPES[name] for name in ("FP64", "FP32", "INT64", "INT32")}
_COUNTS = frozenset({int})


def usual_array(item: dict[str, Any], raw: memoryview, at: int) -> np.ndarray | None:
    """Return the array of a tensor as nearly all are, numbers of eight or four bytes, at a place of the raw bytes.

    It gives what `array_of` gives, in a third of the time; None for any other tensor, and for one that is wrong.
    """
    datatype, shape, parameters = item.get("datatype"), item.get("shape"), item["parameters"]
    dtype = _USUAL.get(datatype) if type(datatype) is str else None
    if dtype is None or "data" in item or type(shape) is not list or type(parameters) is not dict:
        return None
    used = parameters.get("binary_data_size")
    if type(used) is not int or len(parameters) != 1 or not 0 < used <= len(raw) - at:
        return None
    if not 0 < len(shape) <= 2 or not _COUNTS.issuperset(map(type, shape)) or min(shape) < 1:
        return None
    size = shape[0] * shape[-1] if len(shape) == 2 else shape[0]
    if used != size * dtype.itemsize:
        return None
    array = np.frombuffer(raw, dtype, size, at)
    if not array.flags.aligned:
        array = array.copy()
    return array if len(shape) == 1 else array.reshape(shape)


def array_of(name: str, datatype: str, shape: tuple[int, ...], size: int, raw: memoryview | bytes) -> np.ndarray:
    """Return the array that raw bytes hold, or say why they do not hold it."""
    if datatype == "BYTES":
        return _elements(name, size, bytes(raw)).reshape(shape)
    dtype = DATATYPES[datatype]
    each = dtype.itemsize if datatype != "BF16" else bfloat16.SIZE
    if len(raw) != size * each:
        raise InvalidRequest(
            f"tensor {name!r} has {len(raw)} bytes, needs {size * each} for shape {list(shape)} of {datatype}"
        )
    if datatype == "BF16":
        return bfloat16.widened(raw).reshape(shape)
    array: np.ndarray = np.frombuffer(raw, dtype=np.uint8 if datatype == "BOOL" else dtype)
    if datatype == "BOOL":
        if size and array.max() > 1:
            raise InvalidRequest(f"tensor {name!r} holds a byte above 1, needs 0 or 1 for BOOL")
        array = array.view(dtype)
    # The model runtimes read memory directly, and some processors fault on an odd address.
    return (array if array.flags.aligned else array.copy()).reshape(shape)


def bytes_of(datatype: str, array: np.ndarray) -> bytes:
    """Return the raw bytes of an array."""
    if datatype == "BYTES":
        parts: list[bytes] = []
        for item in array.ravel().tolist():
            data = item.encode() if isinstance(item, str) else item
            parts += (_LENGTH.pack(len(data)), data)
        return b"".join(parts)
    if datatype == "BF16":
        return bfloat16.narrowed(array).tobytes()
    return np.ascontiguousarray(array, dtype=DATATYPES[datatype]).tobytes()


def _elements(name: str, size: int, raw: bytes) -> np.ndarray:
    few_enough(name, size)
    if size * _LENGTH.size > len(raw):
        raise InvalidRequest(f"tensor {name!r} has {len(raw)} bytes, needs 4 and more for each of {size} elements")
    return _held(_equal_items(size, raw) or _items(name, size, raw))


def _equal_items(size: int, raw: bytes) -> list[bytes] | None:
    """Elements of one length, as keys often are, are cut at once; None where they are not."""
    each, over = divmod(len(raw), size or 1)
    if over or not size:
        return None
    if each == _LENGTH.size:
        return None if any(raw) else [b""] * size
    rows = np.frombuffer(raw, dtype=[("length", "<u4"), ("data", f"V{each - _LENGTH.size}")])
    return rows["data"].tolist() if (rows["length"] == each - _LENGTH.size).all() else None


def _items(name: str, size: int, raw: bytes) -> list[bytes]:
    items: list[bytes] = []
    at, unpack, add = 0, _LENGTH.unpack_from, items.append
    with suppress(struct.error):  # the bytes end before the elements do
        for _ in range(size):
            begin = at + 4
            (length,) = unpack(raw, at)
            at = begin + length
            add(raw[begin:at])
    if len(items) != size or at != len(raw):
        raise InvalidRequest(
            f"tensor {name!r} has BYTES elements that end elsewhere than its {len(raw)} bytes, needs {size} elements"
        )
    return items


def _held(items: list[bytes]) -> np.ndarray:
    held = np.empty(len(items), dtype=object)
    held[:] = items
    return held

"""What an ONNX file keeps outside of itself, read off its bytes.

ONNX lets a tensor lie in another file, by any path; whoever loads such a model reads that file,
which nobody has checked. The bytes are walked here without following anything, and without the
packages that would. The numbers are those of onnx.proto; unknown fields are passed over, as every
reader of protocol buffers does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 64
_Fields = Mapping[int, Any]

_TENSOR: dict[int, Any] = {}  # looked at, not into
_SPARSE: _Fields = {1: _TENSOR, 2: _TENSOR}
_GRAPH: dict[int, Any] = {5: _TENSOR, 15: _SPARSE}
_ATTRIBUTE: _Fields = {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}
_NODE: _Fields = {5: _ATTRIBUTE}
_GRAPH[1] = _NODE
_FUNCTION: _Fields = {7: _NODE, 11: _ATTRIBUTE}
_TRAINING: _Fields = {1: _GRAPH, 2: _GRAPH}
_MODEL: _Fields = {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION}


def kept_elsewhere(model: bytes) -> list[str]:
    """Return the places outside the file where tensors of it lie; ValueError for bytes that are no message.

    A tensor that says it lies elsewhere, and not where, gives "".
    """
    return sorted(set(_walk(memoryview(model), _MODEL, 0)))


def _walk(message: memoryview, known: _Fields, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError(f"its messages lie more than {_DEEPEST} deep")
    for number, value in _fields(message):
        if known is _TENSOR:
            if number == _DATA_LOCATION and not isinstance(value, memoryview) and value & 0xFFFFFFFF == 1:
                yield ""
            elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
                yield from _location(value)
        elif number in known and isinstance(value, memoryview):
            yield from _walk(value, known[number], depth + 1)


def _location(entry: memoryview) -> Iterator[str]:
    told = {number: bytes(value) for number, value in _fields(entry) if isinstance(value, memoryview)}
    if told.get(1) == b"location":
        yield told.get(2, b"").decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if tag >> 32:  # some readers would take its lower half for another field's
            raise ValueError(f"a field before byte {at} has a number that none can have")
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field at byte {at} is of kind {kind}")
        size, at = _varint(message, at) if kind == 2 else (8 if kind == 1 else 4, at)
        if at + size > end:
            raise ValueError("it ends within a field")
        yield tag >> 3, message[at : at + size] if kind == 2 else 0
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"the number before byte {at} does not end")

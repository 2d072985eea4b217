"""Tensors, and the requests and answers that carry them; the same for JSON, binary and gRPC.

A tensor is a name, a datatype of the protocol and a NumPy array of that type. BYTES tensors are
object arrays whose elements are `bytes`; BF16 tensors are float32. Arrays that came from a request may be read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.open_inference.errors import InvalidRequest

#: The protocol's datatypes and how they are held, which is how they are sent: little-endian, BOOL in one byte.
#: Only BF16 is sent otherwise, as the upper two bytes of what is held.
DATATYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
    "BF16": np.dtype("<f4"),
}
#: What has no form in JSON, nor in the typed contents of gRPC.
BINARY_ONLY = frozenset({"FP16", "BF16"})
_NAMES = {dtype: name for name, dtype in DATATYPES.items() if name != "BF16"}

MAX_DIMENSIONS = 32
MAX_ELEMENTS = 2**31 - 1
#: Elements of BYTES that a request may have: each becomes an object, which takes longer than its bytes do.
MAX_TEXTS = 1 << 20


@dataclass(slots=True)
class Tensor:
    """One named array, as it travels."""

    name: str
    datatype: str
    array: np.ndarray

    @classmethod
    def of(cls, name: str, array: np.ndarray | Sequence[Any]) -> Tensor:
        """Name an array; its dtype chooses the datatype. Strings become BYTES, in UTF-8.

        >>> Tensor.of("amount", np.array([12.5])).datatype
        'FP64'
        >>> Tensor.of("category", ["grocery"]).array
        array([b'grocery'], dtype=object)
        """
        array = np.asarray(array)
        if array.dtype.kind in "OSU":
            return cls(name, "BYTES", _as_bytes(name, array))
        datatype = _NAMES.get(array.dtype.newbyteorder("<"))
        if datatype is None:
            raise InvalidRequest(f"tensor {name!r} is {array.dtype}, needs a type among {', '.join(DATATYPES)}")
        return cls(name, datatype, array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape


@dataclass(slots=True)
class RequestedOutput:
    """An output asked for by name; `binary` is None where the request's default decides."""

    name: str
    binary: bool | None = None


@dataclass(slots=True)
class InferRequest:
    """What is asked: tensors by name, and which outputs; no `outputs` means all of them.

    `headers` holds, in small letters, those of the request's headers that go on to whom the model asks.
    """

    model: str
    version: str = ""
    id: str = ""
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    binary_default: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        """Tell whether an output was asked for by name."""
        return any(output.name == name for output in self.outputs)


@dataclass(slots=True)
class InferResponse:
    """What is answered. An empty `version` or `id` is left out on the wire."""

    model: str
    version: str = ""
    id: str = ""
    outputs: list[Tensor] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    def output(self, name: str) -> np.ndarray:
        """Return an output's array; KeyError where there is none of this name."""
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor.array
        raise KeyError(name)


def checked_datatype(name: str, datatype: Any) -> np.dtype:
    """Return the dtype of a datatype, or refuse it."""
    dtype = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        found = repr(datatype[:20]) if isinstance(datatype, str) else "no string"
        raise InvalidRequest(f"tensor {name!r} has datatype {found}, needs one of {', '.join(DATATYPES)}")
    return dtype


def item_size(datatype: str) -> int:
    """Return how many bytes an element has on the wire; 0 for BYTES, whose elements differ."""
    if datatype == "BYTES":
        return 0
    return 2 if datatype == "BF16" else DATATYPES[datatype].itemsize


def checked_shape(name: str, shape: Any) -> tuple[tuple[int, ...], int]:
    """Return a shape and the number of its elements, or refuse it before anything is allocated.

    The bound counts empty dimensions as one, so that no shape can overflow what NumPy can address.
    """
    if not isinstance(shape, list) or not set(map(type, shape)) <= {int}:
        raise InvalidRequest(f"tensor {name!r} has no shape that is a list of integers, needs one such as [2, 1]")
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidRequest(f"tensor {name!r} has {len(shape)} dimensions, needs at most {MAX_DIMENSIONS}")
    bound = size = 1
    for length in shape:
        if length < 0:
            raise InvalidRequest(f"tensor {name!r} has a negative dimension, needs every dimension to be 0 or more")
        bound *= length or 1
        size *= length
    if bound > MAX_ELEMENTS:
        raise InvalidRequest(f"tensor {name!r} has a shape of more than {MAX_ELEMENTS} elements, needs a smaller one")
    return tuple(shape), size


def few_enough(name: str, texts: int) -> None:
    """Refuse more elements of BYTES than MAX_TEXTS."""
    if texts > MAX_TEXTS:
        raise InvalidRequest(f"with tensor {name!r} there are {texts} BYTES elements, needs at most {MAX_TEXTS}")


def _as_bytes(name: str, array: np.ndarray) -> np.ndarray:
    held = np.empty(array.size, dtype=object)
    held[:] = [_one_as_bytes(name, item) for item in array.ravel().tolist()]
    return held.reshape(array.shape)


def _one_as_bytes(name: str, item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise InvalidRequest(f"tensor {name!r} holds a {type(item).__name__}, needs only str or bytes")

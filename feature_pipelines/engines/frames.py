"""Arrays of equal length as bytes and back: how chunks of events and the state of engines travel and rest.

The bytes are an Arrow stream compressed with LZ4. Nothing in them is run when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_META = b"headrace"


def to_bytes(columns: Mapping[str, np.ndarray], about: str = "") -> bytes:
    """Return equally long arrays as bytes, with a text about them.

    Numbers, records of a structured dtype, and objects that are all text, all bytes or null.
    """
    arrays = {name: _array(values) for name, values in columns.items()}
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    batch = batch.replace_schema_metadata({_META: about.encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


def of_bytes(data: bytes, records: Mapping[str, np.dtype] | None = None) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays, not to be written to, and the text; `records` says which hold a structured dtype."""
    with pa.ipc.open_stream(data) as reader:
        batch = reader.read_next_batch()
    kinds = records or {}
    columns = {name: _values(batch.column(at), kinds.get(name)) for at, name in enumerate(batch.schema.names)}
    return columns, batch.schema.metadata[_META].decode()


def _array(values: np.ndarray) -> pa.Array:
    if values.dtype.kind == "V":
        flat = pa.py_buffer(np.ascontiguousarray(values))
        return pa.Array.from_buffers(pa.binary(values.dtype.itemsize), values.size, [None, flat])
    if values.dtype.kind == "O":
        kind = pa.binary() if any(isinstance(value, bytes) for value in values) else pa.string()
        return pa.array(values.tolist(), type=kind)
    return pa.array(values)


def _values(array: pa.Array, records: np.dtype | None) -> np.ndarray:
    if records is not None:
        return np.frombuffer(array.buffers()[1], dtype=records, count=len(array))
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        return np.array(array.to_pylist(), dtype=object)
    out: np.ndarray = array.to_numpy(zero_copy_only=False)
    return out

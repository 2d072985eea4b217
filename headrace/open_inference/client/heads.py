"""The JSON parts of binary requests and answers, kept: a model is asked the same again and again, with other numbers.

What was written or read once is not written or read again, as long as it is the same to the byte. What is kept is
bounded, and everything in it was made by `codec.bodies`, which alone says what is right.
"""

from __future__ import annotations

from typing import Any

import orjson

from headrace.open_inference.codec import binary_data
from headrace.open_inference.codec.bodies import decode_response, encode_request
from headrace.open_inference.tensors import InferRequest, InferResponse, Tensor

_MOST = 256
_LONGEST = 4096
_Part = tuple[str, str, tuple[int, ...], int, int, int]


class Heads:
    """What one endpoint is asked with, and answers with. Raises what `codec.bodies` raises."""

    def __init__(self) -> None:
        self._written: dict[Any, bytes] = {}
        self._read: dict[bytes, tuple[InferResponse, int, list[_Part]]] = {}

    def encode(self, request: InferRequest) -> tuple[bytes, int | None]:
        """Return the body of a request and how many bytes of it are JSON."""
        if request.id or request.parameters:
            return encode_request(request)
        tensors = request.inputs.values()
        key = (
            *[(tensor.name, tensor.datatype, tensor.array.shape) for tensor in tensors],
            *[(output.name, output.binary) for output in request.outputs],
        )
        head = self._written.get(key)
        if head is None or any(tensor.datatype == "BYTES" for tensor in tensors):
            body, length = encode_request(request)
            if length is not None and length <= _LONGEST and len(self._written) < _MOST:
                self._written[key] = body[:length]
            return body, length
        parts = [binary_data.bytes_of(tensor.datatype, tensor.array) for tensor in tensors]
        return b"".join((head, *parts)), len(head)

    def decode(self, body: bytes, length: int | None) -> InferResponse:
        """Read an answer."""
        if length is None or not 0 < length <= min(len(body), _LONGEST):
            return decode_response(body, length)
        head = body[:length]
        known = self._read.get(head)
        if known is None or known[1] != len(body):
            answer = decode_response(body, length)
            self._keep(head, answer, len(body))
            return answer
        first, _, parts = known
        view = memoryview(body)
        outputs = [
            Tensor(name, datatype, binary_data.array_of(name, datatype, shape, size, view[begin:end]))
            for name, datatype, shape, size, begin, end in parts
        ]
        return InferResponse(first.model, first.version, first.id, outputs, dict(first.parameters))

    def _keep(self, head: bytes, answer: InferResponse, whole: int) -> None:
        if answer.id or len(self._read) >= _MOST:
            return
        at, parts = len(head), []
        for tensor, said in zip(answer.outputs, orjson.loads(head)["outputs"], strict=True):
            size = (said.get("parameters") or {}).get("binary_data_size")
            if size is None:
                return
            parts.append((tensor.name, tensor.datatype, tensor.array.shape, tensor.array.size, at, at + size))
            at += size
        bare = InferResponse(answer.model, answer.version, "", [], answer.parameters)
        self._read[head] = bare, whole, parts

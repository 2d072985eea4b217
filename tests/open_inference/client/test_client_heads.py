"""What is kept of JSON parts changes nothing: bodies and answers are the codec's, asked once or often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.open_inference import InvalidRequest
from headrace.open_inference.client.heads import _MOST, Heads
from headrace.open_inference.codec.bodies import decode_response, encode_request, encode_response
from headrace.open_inference.tensors import BINARY_ONLY, DATATYPES, InferRequest, InferResponse, RequestedOutput, Tensor

HEADS = Heads()  # one for all examples, as one endpoint has


@st.composite
def tensors(draw: st.DrawFn) -> list[Tensor]:
    """Draw a few tensors of few shapes, so that what is kept is met again."""
    found = []
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        datatype = draw(st.sampled_from(["FP32", "FP64", "BOOL", "INT8", "BYTES", "BF16", "FP16"]))
        shape = draw(st.sampled_from([(0,), (1,), (2, 3), (3, 2), (6,)]))
        values = np.arange(np.prod(shape)).reshape(shape) + draw(st.integers(0, 50))
        if datatype == "BYTES":
            found.append(Tensor.of(name, values.astype(str).astype(object)))
        else:
            found.append(Tensor(name, datatype, values.astype(DATATYPES[datatype])))
    return found


@given(tensors(), st.lists(st.sampled_from("xyz"), unique=True), st.sampled_from(["", "r-7"]), st.booleans())
def test_a_request_is_the_codecs(drawn: list[Tensor], outputs: list[str], request_id: str, binary: bool) -> None:
    asked = tuple(RequestedOutput(name, binary) for name in outputs)
    request = InferRequest("m", "", request_id, {tensor.name: tensor for tensor in drawn}, asked)
    assert HEADS.encode(request) == encode_request(request)
    assert HEADS.encode(request) == encode_request(request)


def same(one: InferResponse, other: InferResponse) -> bool:
    """Tell whether two answers are the same, to the byte."""
    shown = [
        [(t.name, t.datatype, t.array.shape, t.array.dtype, t.array.tolist()) for t in answer.outputs]
        + [answer.model, answer.version, answer.id, answer.parameters]
        for answer in (one, other)
    ]
    return shown[0] == shown[1]


@given(tensors(), st.booleans(), st.sampled_from(["", "3"]), st.sampled_from([{}, {"a": 1}]))
def test_an_answer_is_the_codecs(drawn: list[Tensor], binary: bool, version: str, parameters: dict[str, int]) -> None:
    answer = InferResponse("m", version, "", drawn, dict(parameters))
    binary = binary or any(tensor.datatype in BINARY_ONLY for tensor in drawn)
    body, length = encode_response(answer, InferRequest("m", binary_default=binary))
    assert same(HEADS.decode(body, length), decode_response(body, length))
    again = HEADS.decode(body, length)
    assert same(again, decode_response(body, length))
    again.parameters["changed"] = True
    assert same(HEADS.decode(body, length), decode_response(body, length))


def test_a_known_head_before_other_bytes_is_looked_at_anew() -> None:
    heads, request = Heads(), InferRequest("m", binary_default=True)
    body, length = encode_response(InferResponse("m", outputs=[Tensor.of("a", [True, False])]), request)
    assert heads.decode(body, length).output("a").tolist() == [True, False]
    for wrong, said in (
        (body[:-1], "unlike the 1 bytes"),
        (body + b"\0", "has 3 bytes after"),
        (body[:-1] + b"\2", "needs 0 or 1"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            heads.decode(wrong, length)
    assert heads.decode(body, length).output("a").tolist() == [True, False]


def test_no_more_is_kept_than_is_of_use() -> None:
    heads = Heads()
    for rows in range(_MOST + 50):
        tensor = Tensor.of("a", np.zeros(rows + 1, np.float32))
        assert len(heads.encode(InferRequest("m", inputs={"a": tensor}))[0]) > 4 * rows
        body, length = encode_response(InferResponse("m", outputs=[tensor]), InferRequest("m", binary_default=True))
        assert heads.decode(body, length).output("a").size == rows + 1
    assert (len(heads._written), len(heads._read)) == (_MOST, _MOST)

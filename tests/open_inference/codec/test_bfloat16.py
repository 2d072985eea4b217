"""BF16 against its definition: the upper half of an FP32, rounded to the nearest, ties to even."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, Tensor, decode_request, encode_request
from headrace.open_inference.codec.bfloat16 import narrowed, widened
from headrace.open_inference.codec.bodies import encode_response
from headrace.open_inference.codec.raw_request import decode_raw

EVERY = np.arange(2**16, dtype="<u2")


def test_every_value_survives_and_every_nan_stays_one() -> None:
    values = widened(EVERY.tobytes())
    back, nan = narrowed(values), np.isnan(values)
    np.testing.assert_array_equal(back[~nan], EVERY[~nan])
    np.testing.assert_array_equal(np.isnan(widened(back.tobytes())), nan)
    assert np.isnan(widened(narrowed(np.array([0x7F800001], "<u4").view("<f4")).tobytes())).all()


@given(st.floats(-(2.0**126), 2.0**126, width=32))
def test_a_number_becomes_the_nearest_one(value: float) -> None:
    (found,) = narrowed(np.array([value], "f4")).astype(int)
    magnitude = found & 0x7FFF
    around = [found + step for step in (-1, 1) if 0 <= magnitude + step < 0x7F80]
    error, *others = (abs(float(widened(np.array([bits], "<u2").tobytes())[0]) - value) for bits in (found, *around))
    assert error <= min(others)


def test_a_tie_goes_to_the_even_one() -> None:
    ties = np.array([0x3F808000, 0x3F818000], "<u4").view("<f4")
    assert narrowed(ties).tolist() == [0x3F80, 0x3F82]


def test_it_travels_in_two_bytes_as_a_tensor_and_as_a_raw_body() -> None:
    tensor = Tensor("a", "BF16", np.array([[1.5, -2.0]], "f4"))
    body, length = encode_request(InferRequest("m", inputs={"a": tensor}))
    assert len(body) - (length or 0) == 4
    assert decode_request(body, length, "m").inputs["a"].array.tolist() == [[1.5, -2.0]]
    metadata = {"inputs": [{"name": "a", "datatype": "BF16", "shape": [-1, 2]}]}
    assert decode_raw(body[length:], metadata, "m").inputs["a"].array.tolist() == [[1.5, -2.0]]


def test_it_has_no_form_in_json() -> None:
    tensor = Tensor("a", "BF16", np.array([1.5], "f4"))
    with pytest.raises(InvalidRequest) as refused:
        encode_response(InferResponse("m", outputs=[tensor]), InferRequest("m"))
    assert refused.value.message == "output 'a' is BF16, which has no JSON form: ask for it with binary_data true"
    with pytest.raises(InvalidRequest) as refused:
        decode_request(b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BF16", "data": [1]}]}', None, "m")
    assert refused.value.message == "tensor 'a' is BF16 in JSON, needs binary data: BF16 has no JSON form"

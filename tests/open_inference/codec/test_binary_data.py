"""Tensors as raw bytes: the usual ones are read by a shorter way, to the same arrays and refusals."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.open_inference import DATATYPES, InvalidRequest, decode_request, tensors
from headrace.open_inference.codec import binary_data

_LENGTHS = st.sampled_from([0, 1, 2, 3, -1, True, 2.0, "2", None, 2**62])
_SHAPES = st.lists(_LENGTHS, max_size=3) | st.lists(st.integers(1, 3), min_size=1, max_size=2) | st.none() | st.just(2)
_SIZES = st.sampled_from([0, 4, 8, 12, 16, 24, 32, -8, True, 8.0, "8", None])
_ITEMS = st.fixed_dictionaries(
    {
        "name": st.just("a"),
        "shape": _SHAPES,
        "datatype": st.sampled_from(["FP64", "FP32", "INT64", "INT32", "BOOL", "BF16", "BYTES", "FP65", None, 8]),
        "parameters": st.fixed_dictionaries({"binary_data_size": _SIZES}, optional={"more": st.just(1)}) | st.none(),
    },
    optional={"data": st.sampled_from([None, [1.0]])},
)


@given(_ITEMS, st.integers(0, 40), st.integers(0, 8))
def test_a_usual_binary_tensor_is_what_any_other_is(item: dict[str, Any], size: int, before: int) -> None:
    raw, head = bytes(range(size)), b" " * before + orjson.dumps({"inputs": [item]})

    def told() -> Any:
        try:
            tensor = decode_request(head + raw, len(head), "m").inputs["a"]
        except InvalidRequest as refused:
            return refused.message
        return tensor.datatype, tensor.array.dtype, tensor.array.tolist(), tensor.array.flags.writeable

    usual = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary_data, "usual_array", lambda *_: None)
        assert usual == told()


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "INT32"])
@pytest.mark.parametrize("shape", [[3], [3, 1], [1, 3], [2, 3]])
def test_binary_numbers_of_several_tensors_are_taken_the_usual_way(datatype: str, shape: list[int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(DATATYPES[datatype])
    item = {"shape": shape, "datatype": datatype, "parameters": {"binary_data_size": array.nbytes}}
    raw = memoryview(b"before" + array.tobytes() + b"after")
    found = binary_data.usual_array(item, raw, 6)
    assert found is not None
    np.testing.assert_array_equal(found, array)
    assert found.flags.aligned
    assert found.dtype == array.dtype


def texts(*tensors: list[bytes]) -> bytes:
    """Return the JSON part and the bytes of tensors a, b and so on."""
    raws = [b"".join(struct.pack("<I", len(text)) + text for text in tensor) for tensor in tensors]
    inputs = [
        {"name": name, "shape": [len(tensor)], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
        for name, tensor, raw in zip("abc", tensors, raws, strict=False)
    ]
    head = orjson.dumps({"inputs": inputs})
    return b"%d|" % len(head) + head + b"".join(raws)


def read(said: bytes) -> dict[str, Any]:
    """Read what `texts` gave."""
    length, _, body = said.partition(b"|")
    return {name: t.array.tolist() for name, t in decode_request(body, int(length), "m").inputs.items()}


@pytest.mark.parametrize("found", [[b""], [b"", b""], [b"", b"abc", b""], [b"ab", b"cd"], [b"\0", b""], []])
def test_texts_of_any_lengths_are_read(found: list[bytes]) -> None:
    assert read(texts(found, found[::-1])) == {"a": found, "b": found[::-1]}


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
def test_texts_that_end_elsewhere_than_their_bytes_are_refused(cut: int) -> None:
    raw = b"".join(struct.pack("<I", len(text)) + text for text in (b"ab", b"c"))
    with pytest.raises(InvalidRequest, match=r"needs 2 elements|for each of 2 elements"):
        binary_data.array_of("a", "BYTES", (2,), 2, raw[:-cut])


def test_more_texts_than_a_request_may_have_are_refused_in_one_tensor_and_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensors, "MAX_TEXTS", 4)
    assert read(texts([b"", b"x"], [b"y", b""])) == {"a": [b"", b"x"], "b": [b"y", b""]}
    for many in ([[b"", b"x", b"", b"", b""]], [[b"x"] * 4, [b""]]):
        with pytest.raises(InvalidRequest, match=r"there are 5 BYTES elements, needs at most 4"):
            read(texts(*many))
    said = orjson.dumps({"inputs": [{"name": "a", "shape": [5], "datatype": "BYTES", "data": [""] * 5}]})
    with pytest.raises(InvalidRequest, match=r"there are 5 BYTES elements, needs at most 4"):
        decode_request(said, None, "m")

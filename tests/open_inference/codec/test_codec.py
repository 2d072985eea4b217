"""Requests and answers: decode undoes encode, and what cannot be read is refused with its reason."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headrace.open_inference import (
    DATATYPES,
    InferRequest,
    InferResponse,
    InvalidRequest,
    RequestedOutput,
    Tensor,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from headrace.open_inference.tensors import BINARY_ONLY

NUMERIC = [name for name in DATATYPES if name != "BYTES"]
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: Any, name: str, json: bool) -> Tensor:
    datatype = draw(st.sampled_from([d for d in DATATYPES if not (json and d in BINARY_ONLY)]))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        items = st.text().map(str.encode) if json else st.binary()
        return Tensor(name, datatype, draw(arrays.arrays(object, shape, elements=items, fill=st.nothing())))
    floats: dict[str, Any] = {"allow_nan": not json, "allow_infinity": not json} if datatype.startswith("FP") else {}
    dtype = DATATYPES[datatype]
    if datatype == "BF16":
        halves = draw(arrays.arrays("<u2", shape))
        return Tensor(name, datatype, (halves.astype("<u4") << 16).view("<f4"))
    return Tensor(name, datatype, draw(arrays.arrays(dtype, shape, elements=arrays.from_dtype(dtype, **floats))))


def several(json: bool) -> st.SearchStrategy[list[Tensor]]:
    return st.tuples(tensors("a", json), tensors("b", json)).map(list)


def same(ours: Tensor, theirs: Tensor) -> None:
    assert (ours.name, ours.datatype, ours.array.shape) == (theirs.name, theirs.datatype, theirs.array.shape)
    np.testing.assert_array_equal(ours.array, theirs.array)


@given(several(json=False), st.text(max_size=20))
def test_a_binary_request_is_read_as_it_was_written(given_tensors: list[Tensor], label: str) -> None:
    asked = InferRequest("m", "1", label, {t.name: t for t in given_tensors}, (RequestedOutput("x", True),), {"p": 1.5})
    body, length = encode_request(asked)
    found = decode_request(body, length, "m", "1")
    assert (found.id, found.outputs, found.binary_default) == (label, asked.outputs, True)
    assert found.parameters["p"] == 1.5
    for ours, theirs in zip(given_tensors, found.inputs.values(), strict=True):
        same(ours, theirs)
        assert theirs.array.flags.aligned


@given(several(json=True))
def test_a_json_request_is_read_as_it_was_written(given_tensors: list[Tensor]) -> None:
    body, length = encode_request(InferRequest("m", inputs={t.name: t for t in given_tensors}), binary=False)
    assert length is None
    for ours, theirs in zip(given_tensors, decode_request(body, None, "m").inputs.values(), strict=True):
        same(ours, theirs)


@given(several(json=True))
def test_nested_data_means_the_same_as_flat_data(given_tensors: list[Tensor]) -> None:
    tensor = given_tensors[0]
    data = tensor.array.tolist()
    if tensor.datatype == "BYTES":
        data = orjson.loads(orjson.dumps(data, default=bytes.decode))
    item = {"name": "a", "shape": tensor.array.shape, "datatype": tensor.datatype, "data": data}
    same(tensor, decode_request(orjson.dumps({"inputs": [item]}), None, "m").inputs["a"])


@given(several(json=True), st.booleans(), st.booleans(), st.booleans())
def test_an_answer_is_read_as_it_was_written(given_tensors: list[Tensor], a: bool, b: bool, default: bool) -> None:
    asked = InferRequest(
        "m", id="7", outputs=(RequestedOutput("b", b), RequestedOutput("a", a)), binary_default=default
    )
    body, length = encode_response(InferResponse("m", "1", "", given_tensors, {"late": True}), asked)
    found = decode_response(body, length)
    assert (found.model, found.version, found.id, found.parameters) == ("m", "1", "7", {"late": True})
    assert (length is not None) == (a or b)
    assert [tensor.name for tensor in found.outputs] == ["b", "a"]
    same(given_tensors[1], found.outputs[0])
    same(given_tensors[0], found.outputs[1])


@given(several(json=False))
def test_every_bit_of_a_binary_answer_survives(given_tensors: list[Tensor]) -> None:
    body, length = encode_response(InferResponse("m", outputs=given_tensors), InferRequest("m", binary_default=True))
    for ours, theirs in zip(given_tensors, decode_response(body, length).outputs, strict=True):
        same(ours, theirs)


@given(st.integers(0, 5).flatmap(lambda length: st.lists(st.binary(min_size=length, max_size=length), min_size=1)))
def test_elements_of_one_length_are_read_as_they_were_written(items: list[bytes]) -> None:
    tensor = Tensor.of("a", np.array([*items, None], dtype=object)[:-1])
    body, length = encode_request(InferRequest("m", inputs={"a": tensor}))
    assert decode_request(body, length, "m").inputs["a"].array.tolist() == items


@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(-1, 400)))
def test_no_bytes_make_the_decoder_fault(body: bytes, length: int | None) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(body, length, "m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, JSON, JSON, st.sampled_from([*DATATYPES, "", None]))
def test_no_json_makes_the_decoder_fault(name: Any, shape: Any, data: Any, parameters: Any, datatype: Any) -> None:
    item = {"name": name, "shape": shape, "data": data, "datatype": datatype, "parameters": parameters}
    for variant in (item, {**item, "name": "a", "shape": [1], "parameters": {}}):
        with suppress(InvalidRequest):
            decode_request(orjson.dumps({"inputs": [variant]}), None, "m")


def test_an_answer_has_no_null_and_no_member_that_was_not_given() -> None:
    body, _ = encode_response(InferResponse("m", outputs=[Tensor.of("a", np.array([1], "i4"))]), InferRequest("m"))
    assert orjson.loads(body) == {
        "model_name": "m",
        "outputs": [{"name": "a", "shape": [1], "datatype": "INT32", "data": [1]}],
    }


def item(**changed: Any) -> dict[str, Any]:
    whole = {"name": "a", "shape": [2], "datatype": "FP32", "data": [1, 2.5], **changed}
    return {key: value for key, value in whole.items() if value is not ...}


REFUSED = {
    "no inputs": ({"inputs": []}, "the request has no inputs, needs a list 'inputs' of at least one tensor"),
    "inputs no list": ({"inputs": {}}, "the request has no inputs, needs a list 'inputs' of at least one tensor"),
    "labels": (
        {"inputs": [item()], "outputs": [{"name": "b", "parameters": {"classification": 3}}]},
        "output 'b' is asked for with classification, which is not spoken here: needs none",
    ),
    "an array": ([], "the body is a JSON list, needs an object"),
    "no name": ({"inputs": [item(name=...)]}, "an input has no name, needs an object with a 'name' of 1 to 200"),
    "long name": (
        {"inputs": [item(name="x" * 201)]},
        "an input has no name, needs an object with a 'name' of 1 to 200",
    ),
    "no object": ({"inputs": [3]}, "an input has no name, needs an object"),
    "twice": ({"inputs": [item(), item()]}, "input 'a' is there twice, needs every input once"),
    "datatype": ({"inputs": [item(datatype="FP31")]}, "tensor 'a' has datatype 'FP31', needs one of BOOL, UINT8"),
    "no datatype": ({"inputs": [item(datatype=...)]}, "tensor 'a' has datatype no string, needs one of BOOL"),
    "no shape": ({"inputs": [item(shape=...)]}, "tensor 'a' has no shape that is a list of integers, needs one such"),
    "true shape": ({"inputs": [item(shape=[True])]}, "tensor 'a' has no shape that is a list of integers"),
    "true shape of one": (
        {"inputs": [item(shape=[True], datatype="FP64", data=[1.5])]},
        "tensor 'a' has no shape that is a list of integers",
    ),
    "shape of fractions": (
        {"inputs": [item(shape=[2.0], datatype="FP64")]},
        "tensor 'a' has no shape that is a list of integers",
    ),
    "negative": ({"inputs": [item(shape=[-1])]}, "tensor 'a' has a negative dimension, needs every dimension"),
    "overflow": (
        {"inputs": [item(shape=[2**62, 4])]},
        "tensor 'a' has a shape of more than 2147483647 elements, needs a smaller one",
    ),
    "empty overflow": ({"inputs": [item(shape=[0, 2**62], data=[])]}, "tensor 'a' has a shape of more than 2147483647"),
    "dimensions": ({"inputs": [item(shape=[1] * 33)]}, "tensor 'a' has 33 dimensions, needs at most 32"),
    "too few": ({"inputs": [item(data=[1])]}, "tensor 'a' has 1 elements, needs 2 for shape [2]"),
    "no data": ({"inputs": [item(data=...)]}, "tensor 'a' has no data that is a list, needs a flat or nested list"),
    "text": ({"inputs": [item(data=["4711", 1])]}, "tensor 'a' holds string, needs numbers for FP32"),
    "an object": ({"inputs": [item(data=[{}, 1])]}, "tensor 'a' holds object, needs numbers for FP32"),
    "a boolean": ({"inputs": [item(data=[True, 1])]}, "tensor 'a' holds boolean, needs numbers for FP32"),
    "a fraction": ({"inputs": [item(datatype="INT8")]}, "tensor 'a' holds number, needs integers for INT8"),
    "null integer": ({"inputs": [item(datatype="INT8", data=[None, 1])]}, "tensor 'a' holds null, needs integers"),
    "zero or one": ({"inputs": [item(datatype="BOOL", data=[0, 1])]}, "tensor 'a' holds integer, needs true or false"),
    "bytes": ({"inputs": [item(datatype="BYTES")]}, "tensor 'a' holds integer, number, needs strings for BYTES"),
    "int8 range": (
        {"inputs": [item(datatype="INT8", data=[300, 1])]},
        "tensor 'a' holds a number outside the range of INT8",
    ),
    "uint range": (
        {"inputs": [item(datatype="UINT64", data=[-1, 1])]},
        "tensor 'a' holds a number outside the range of UINT64",
    ),
    "fp32 range": ({"inputs": [item(data=[1e39, 1])]}, "tensor 'a' holds a number outside the range of FP32"),
    "half": (
        {"inputs": [item(datatype="FP16")]},
        "tensor 'a' is FP16 in JSON, needs binary data: FP16 has no JSON form",
    ),
    "mixed nest": ({"inputs": [item(shape=[2, 1], data=[[1], 2])]}, "tensor 'a' mixes lists and elements, needs lists"),
    "ragged": ({"inputs": [item(shape=[2, 2], data=[[1, 2], [3]])]}, "tensor 'a' has lists nested unlike its shape"),
    "transposed": ({"inputs": [item(shape=[1, 2], data=[[1], [2]])]}, "tensor 'a' has lists nested unlike its shape"),
    "too deep": ({"inputs": [item(data=[[1, 2]])]}, "tensor 'a' has lists nested unlike its shape, needs shape [2]"),
    "half deep": ({"inputs": [item(shape=[1, 1, 2], data=[[1]])]}, "tensor 'a' has lists nested unlike its shape"),
    "id": ({"id": 7, "inputs": [item()]}, "the request has an id that is int, needs a string"),
    "parameters": (
        {"parameters": [], "inputs": [item()]},
        "the request has parameters it cannot have, needs an object",
    ),
    "nested parameter": ({"parameters": {"a": {}}, "inputs": [item()]}, "the request has parameters it cannot have"),
    "flag": (
        {"parameters": {"binary_data_output": 1}, "inputs": [item()]},
        "the request has a binary_data_output that is int, needs true or false",
    ),
    "outputs": ({"outputs": "a", "inputs": [item()]}, "the request has outputs that are str, needs a list"),
    "output name": ({"outputs": [{}], "inputs": [item()]}, "an output has no name, needs an object with a 'name'"),
    "output twice": (
        {"outputs": [{"name": "a"}, {"name": "a"}], "inputs": [item()]},
        "the request asks for an output twice, needs every output once",
    ),
    "output flag": (
        {"outputs": [{"name": "a", "parameters": {"binary_data": "yes"}}], "inputs": [item()]},
        "output 'a' has a binary_data that is str, needs true or false",
    ),
    "size without bytes": (
        {"inputs": [item(data=..., parameters={"binary_data_size": 8})]},
        "tensor 'a' has a binary_data_size unlike the 0 bytes that are left for it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_json_request_is_refused_with_its_reason(case: str) -> None:
    content, reason = REFUSED[case]
    with pytest.raises(InvalidRequest) as refused:
        decode_request(orjson.dumps(content), None, "m")
    assert refused.value.message.startswith(reason)
    assert "4711" not in refused.value.message


BROKEN = {
    "no json": (b"{", None, "the body is not JSON ("),
    "not a number": (b'{"inputs": [NaN]}', None, "the body is not JSON ("),
    "bad utf-8": (b'{"id": "\xff"}', None, "the body is not JSON ("),
    "deep": (b"[" * 5000, None, "the body is not JSON ("),
    "empty": (b"", None, "the body has 0 bytes, needs a JSON object"),
    "cut": (b"{}", 3, "the body has 2 bytes, needs the 3 that its JSON part is said to have"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_body_that_is_no_json_is_refused(case: str) -> None:
    body, length, reason = BROKEN[case]
    with pytest.raises(InvalidRequest) as refused:
        decode_request(body, length, "m")
    assert refused.value.message.startswith(reason)


def binary(raw: bytes, **changed: Any) -> tuple[bytes, int]:
    head = orjson.dumps({"inputs": [item(data=..., **changed)]})
    return head + raw, len(head)


BINARY: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "short": (
        b"1234567",
        {"parameters": {"binary_data_size": 8}},
        "tensor 'a' has a binary_data_size unlike the 7 bytes",
    ),
    "unlike shape": (
        b"1234",
        {"parameters": {"binary_data_size": 4}},
        "tensor 'a' has 4 bytes, needs 8 for shape [2] of FP32",
    ),
    "left over": (
        b"123456789",
        {"parameters": {"binary_data_size": 8}},
        "the body has 9 bytes after its JSON, needs 8 by the sum of binary_data_size",
    ),
    "true": (b"1", {"parameters": {"binary_data_size": True}}, "tensor 'a' has a binary_data_size unlike"),
    "bool": (
        b"\1\2",
        {"datatype": "BOOL", "parameters": {"binary_data_size": 2}},
        "tensor 'a' holds a byte above 1, needs 0 or 1 for BOOL",
    ),
    "few elements": (
        b"\0\0\0\0",
        {"datatype": "BYTES", "parameters": {"binary_data_size": 4}},
        "tensor 'a' has 4 bytes, needs 4 and more for each of 2 elements",
    ),
    "long element": (
        b"\0\0\0\0\xff\xff\xff\xff",
        {"datatype": "BYTES", "parameters": {"binary_data_size": 8}},
        "tensor 'a' has BYTES elements that end elsewhere than its 8 bytes, needs 2 elements",
    ),
}


@pytest.mark.parametrize("case", BINARY)
def test_binary_data_is_refused_with_its_reason(case: str) -> None:
    raw, changed, reason = BINARY[case]
    body, length = binary(raw, **changed)
    with pytest.raises(InvalidRequest) as refused:
        decode_request(body, length, "m")
    assert refused.value.message.startswith(reason)


def test_data_beside_binary_data_is_refused() -> None:
    head = orjson.dumps({"inputs": [item(parameters={"binary_data_size": 8})]})
    with pytest.raises(InvalidRequest) as refused:
        decode_request(head + b"12345678", len(head), "m")
    assert refused.value.message == "tensor 'a' has both data and binary_data_size, needs one of them"


def test_null_in_a_float_tensor_is_a_missing_number() -> None:
    body = orjson.dumps({"inputs": [item(data=[None, 2])]})
    np.testing.assert_array_equal(decode_request(body, None, "m").inputs["a"].array, np.array([np.nan, 2], "f4"))


UNSAYABLE = {
    "nan": (np.array([np.nan]), "output 'a' holds NaN or infinity, which JSON cannot say"),
    "infinity": (np.array([np.inf], "f4"), "output 'a' holds NaN or infinity, which JSON cannot say"),
    "half": (np.array([1], "f2"), "output 'a' is FP16, which has no JSON form"),
    "not utf-8": (
        np.array([b"\xff"], dtype=object),
        "output 'a' holds bytes that are not UTF-8, which JSON cannot say",
    ),
}


@pytest.mark.parametrize("case", UNSAYABLE)
def test_what_json_cannot_say_is_refused_in_json_and_sent_in_binary(case: str) -> None:
    array, reason = UNSAYABLE[case]
    response = InferResponse("m", outputs=[Tensor.of("a", array)])
    with pytest.raises(InvalidRequest) as refused:
        encode_response(response, InferRequest("m"))
    assert refused.value.message == f"{reason}: ask for it with binary_data true"
    body, length = encode_response(response, InferRequest("m", binary_default=True))
    np.testing.assert_array_equal(decode_response(body, length).outputs[0].array, array)


def test_an_unknown_output_is_refused_with_the_known_ones() -> None:
    response = InferResponse("m", outputs=[Tensor.of("a", [1.0]), Tensor.of("b", [1.0])])
    with pytest.raises(InvalidRequest) as refused:
        encode_response(response, InferRequest("m", outputs=(RequestedOutput("c"),)))
    assert refused.value.message == "output 'c' is unknown, needs one of a, b"


@pytest.mark.parametrize("content", [{}, {"model_name": "m"}, {"outputs": []}])
def test_an_answer_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_response(orjson.dumps(content), None)
    assert refused.value.message == "the answer has no model_name or no outputs, needs both"


def test_null_stands_for_what_an_answer_does_not_have() -> None:
    output = {"name": "a", "shape": [1], "datatype": "FP64", "data": [1.5], "parameters": None}
    content = {"model_name": "m", "model_version": None, "id": None, "parameters": None, "outputs": [output]}
    found = decode_response(orjson.dumps(content), None)
    assert (found.version, found.id, found.parameters, found.output("a").tolist()) == ("", "", {}, [1.5])

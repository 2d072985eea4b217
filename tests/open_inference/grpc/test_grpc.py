"""Messages into requests and answers into messages, without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, RequestedOutput, Tensor
from headrace.open_inference.codec import binary_data
from headrace.open_inference.grpc.codec import decode_message, encode_message
from headrace.open_inference.grpc.messages import INFERENCE
from tests.open_inference.codec.test_codec import same, several


def asked(*inputs: dict[str, Any], **more: Any) -> Any:
    return INFERENCE["ModelInferRequest"](model_name="m", inputs=list(inputs), **more)


ONE = {"name": "a", "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [1.5]}}
RAW = {"name": "a", "datatype": "FP64", "shape": [1]}


@given(several(json=False), st.booleans())
def test_an_answer_written_is_a_request_read(tensors: list[Tensor], raw: bool) -> None:
    """What encode_message writes, decode_message reads: tensors have one form in both directions."""
    message = encode_message(InferResponse("m", outputs=tensors), InferRequest("m", binary_default=raw))
    back = INFERENCE["ModelInferRequest"](model_name="m", raw_input_contents=message.raw_output_contents)
    for output in message.outputs:
        back.inputs.add().CopyFrom(output)
    found = decode_message(INFERENCE["ModelInferRequest"].FromString(back.SerializeToString()))
    for ours, theirs in zip(tensors, found.inputs.values(), strict=True):
        same(ours, theirs)


def test_raw_in_is_raw_out_and_typed_in_is_typed_out() -> None:
    raw = decode_message(asked(RAW, raw_input_contents=[binary_data.bytes_of("FP64", np.array([1.5]))]))
    typed = decode_message(asked(ONE))
    assert (raw.binary_default, typed.binary_default) == (True, False)
    answer = InferResponse("m", "1", outputs=[Tensor.of("a", [2.5])])
    assert encode_message(answer, raw).raw_output_contents
    assert list(encode_message(answer, typed).outputs[0].contents.fp64_contents) == [2.5]
    half = InferResponse("m", outputs=[Tensor.of("a", np.array([1], "f2")), Tensor.of("b", [2.5])])
    assert len(encode_message(half, typed).raw_output_contents) == 2


PARAMETERS = {"b": True, "i": -3, "u": 2**64 - 1, "f": 1.5, "s": "x"}


def test_parameters_of_every_kind_are_read_and_written() -> None:
    message = encode_message(InferResponse("m", parameters=PARAMETERS), InferRequest("m", id="7"))
    assert message.id == "7"
    request = asked(ONE)
    for key, value in message.parameters.items():
        request.parameters[key].CopyFrom(value)
    request.parameters["none"].SetInParent()
    found = decode_message(request).parameters
    assert found == {**PARAMETERS, "none": ""}
    assert [type(found[key]) for key in PARAMETERS] == [type(value) for value in PARAMETERS.values()]


def test_an_output_that_is_unknown_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        encode_message(
            InferResponse("m", outputs=[Tensor.of("a", [1.0])]), InferRequest("m", "", "", {}, (RequestedOutput("c"),))
        )
    assert refused.value.message == "output 'c' is unknown, needs one of a"


REFUSED: dict[str, tuple[Any, str]] = {
    "no inputs": (asked(), "the request has no inputs, needs at least one tensor"),
    "counts": (
        asked(RAW, raw_input_contents=[b"", b""]),
        "the request has 2 raw_input_contents, needs one for each of 1",
    ),
    "mixed": (
        asked(ONE, raw_input_contents=[b""]),
        "input 'a' has contents beside raw_input_contents, needs one of them",
    ),
    "raw size": (asked(RAW, raw_input_contents=[b"x"]), "tensor 'a' has 1 bytes, needs 8 for shape [1] of FP64"),
    "twice": (asked(ONE, ONE), "input 'a' is there twice, needs every input once"),
    "no name": (asked({**ONE, "name": ""}), "an input has no name, needs one of 1 to 200 characters"),
    "datatype": (asked({**ONE, "datatype": "FP31"}), "tensor 'a' has datatype 'FP31', needs one of BOOL"),
    "negative": (asked({**ONE, "shape": [-1]}), "tensor 'a' has a negative dimension, needs every dimension"),
    "overflow": (asked({**ONE, "shape": [2**62, 4]}), "tensor 'a' has a shape of more than 2147483647 elements"),
    "count": (asked({**ONE, "shape": [2]}), "input 'a' has 1 fp64_contents, needs 2 for its shape"),
    "kind": (asked({**ONE, "datatype": "FP32"}), "input 'a' has 0 fp32_contents, needs 1 for its shape"),
    "half": (asked({**ONE, "datatype": "FP16"}), "input 'a' is FP16 without raw_input_contents, needs them"),
    "range": (
        asked({**ONE, "datatype": "INT8", "contents": {"int_contents": [300]}}),
        "input 'a' holds a number outside the range of INT8",
    ),
    "output twice": (asked(ONE, outputs=[{"name": "a"}, {"name": "a"}]), "the request asks for an output twice, needs"),
    "shared memory": (
        asked(ONE, outputs=[{"name": "b", "parameters": {"shared_memory_region": {"string_param": "r"}}}]),
        "output 'b' is asked for with shared_memory_region, which is not spoken here: needs none",
    ),
    "output name": (asked(ONE, outputs=[{}]), "an output has no name, needs one of 1 to 200 characters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_message_is_refused_with_its_reason(case: str) -> None:
    message, reason = REFUSED[case]
    with pytest.raises(InvalidRequest) as refused:
        decode_message(message)
    assert refused.value.message.startswith(reason)

"""Lists of numbers read by the compiled loop: whatever a body is, both ways tell the same, to the bit."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.open_inference import DATATYPES, InvalidRequest
from headrace.open_inference.codec import json_numbers
from tests.open_inference.codec import both_ways
from tests.open_inference.codec.json_bodies import DECIMALS, READ, STRANGE, VALID, body, filled, halves, loads

JSON_TYPES = [name for name in DATATYPES if name not in ("BYTES", "BF16", "FP16")]
BLANKS = st.text(" \t\n\r", max_size=2)


@pytest.fixture(autouse=True)
def _every_body(monkeypatch: pytest.MonkeyPatch) -> None:
    json_numbers.prepare()
    monkeypatch.setattr(json_numbers, "LEAST_BYTES", 0)


def bits(number: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", number))[0]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)

INTEGERS = st.builds(
    lambda around, apart: str(around + apart),
    st.sampled_from([0, 2**7, 2**8, 2**15, 2**31, 2**32, 2**53, -(2**53), 2**63, -(2**63), 2**64, 10**18, 10**19]),
    st.integers(-3, 3),
)


NUMBERS = FLOATS.map(repr) | st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)
NUMBERS = NUMBERS | DECIMALS | INTEGERS | halves() | st.just("null") | st.integers(-(2**63), 2**64).map(str)


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.sampled_from(JSON_TYPES))
@example(["-0", "-0.0", "0e5", "-0e-5", "1E+2", "5e-324", "1e308"], "FP64")
@example(["9223372036854775807", "-9223372036854775807", "-9223372036854775808"], "INT64")
@example(["9007199254740993", "0.5"], "FP64")
@example(["16777217.0000000001", "16777217"], "FP32")
def test_numbers_are_the_same_to_the_bit(numbers: list[str], datatype: str) -> None:
    with suppress(InvalidRequest):
        both_ways.request(body(f"[{','.join(numbers)}]", datatype))


@given(st.lists(st.integers(0, 2046).flatmap(lambda top: st.integers(top << 52, (top + 1 << 52) - 1)), min_size=1))
def test_floats_of_every_size_are_the_same_to_the_bit(words: list[int]) -> None:
    numbers = [bits(word) for word in words]
    found = both_ways.request(body(json.dumps(numbers))).inputs["x"].array
    assert found.tobytes() == np.array(numbers).tobytes()


def test_only_floats_that_are_subnormal_are_not_read_by_the_loop() -> None:
    least = sys.float_info.min
    assert loads(body(f"[0.0, {least!r}, {sys.float_info.max!r}, 123456.7e-300]")) is not None
    assert loads(body(f"[{math.nextafter(least, 0)!r}]")) is None
    both_ways.request(body(f"[{math.nextafter(least, 0)!r}, 5e-324]"))


@st.composite
def spaced(draw: Any) -> bytes:
    """A body with blanks anywhere, flat or in rows, with or without a shape to match."""

    def gap() -> str:
        return draw(BLANKS)

    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(JSON_TYPES))
    table = [[draw(NUMBERS if draw(st.booleans()) else st.just("1")) for _ in range(columns)] for _ in range(rows)]
    if draw(st.integers(0, 5)) == 0:
        table[-1].append("2")
    nested = draw(st.booleans())
    shape = draw(st.sampled_from([[rows, columns], [columns, rows], [rows * columns], [1, rows, columns], [True]]))
    lines = [",".join(gap() + number + gap() for number in row) for row in table]
    data = ",".join(f"{gap()}[{line}]{gap()}" for line in lines) if nested else ",".join(lines)
    tensor = f'"name":"x","shape":{json.dumps(shape)},"datatype":"{kind}","data"{gap()}:{gap()}[{data}]{gap()}'
    return f'{{"inputs":[{{{tensor}}}]}}'.encode()


@given(spaced())
def test_lists_are_the_same_flat_or_nested_and_with_blanks_anywhere(text: bytes) -> None:
    with suppress(InvalidRequest):
        both_ways.request(text)


ODD = st.sampled_from(
    [bytes([byte]) for byte in b'0123456789+-.eE,:[]{}"\\ \t\n\0ndatul'] + [b"\xff", b"\x0b", b'"data":[1]']
)


@given(st.sampled_from(VALID), st.integers(0, 400), st.integers(0, 2), ODD | st.just(b""))
def test_a_body_that_is_nearly_right_is_read_or_refused_the_same(text: bytes, at: int, size: int, new: bytes) -> None:
    at %= len(text)
    with suppress(InvalidRequest):
        both_ways.request(text[:at] + new + text[at + size :])


@given(st.sampled_from(VALID), st.integers(0, 400))
def test_a_body_that_ends_early_is_refused_the_same(text: bytes, end: int) -> None:
    end %= len(text)
    for cut in (text[:end], text[:end] + b"]"):
        if cut:
            with pytest.raises(InvalidRequest):
                both_ways.request(cut)
    with suppress(InvalidRequest):
        both_ways.request(text, end)


NOT_NUMBERS = [
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "1.e5",
    "--1",
    "1 2",
    "1,",
    ",1",
    "",
    "0x1",
    "1_0",
    "nul",
    "nulll",
]
NOT_NUMBERS += ["NaN", "Infinity", "-null", "true", '"1"', "[1]", "{}", "1e400", "-1e400", "1\x0b", "1\0", "1\xa0", "٣"]


@pytest.mark.parametrize("wrong", NOT_NUMBERS)
@pytest.mark.parametrize(
    "data", ["[{}]", "[1,{}]", "[{},1]", "[[{}]]", "[[1],[{}]]", "[[1,{}],[2,3]]", "[1]{}", "[[1]{}]"]
)
def test_what_is_no_number_ends_the_reading(wrong: str, data: str) -> None:
    for shape in ([1], [2], [1, 1], [2, 1], [2, 2]):
        with suppress(InvalidRequest):
            both_ways.request(body(data.format(wrong), "FP64", shape))


@pytest.mark.parametrize("case", STRANGE)
def test_data_in_a_strange_place_means_the_same(case: str) -> None:
    with suppress(InvalidRequest):
        both_ways.request(filled(STRANGE[case]))


@pytest.mark.parametrize("case", READ)
def test_what_is_usual_is_read_by_the_loop(case: str) -> None:
    assert loads(READ[case]) is not None
    both_ways.request(READ[case])


def test_an_answer_is_read_by_the_loop_too() -> None:
    output = {"name": "y", "shape": [2, 1], "datatype": "FP32", "data": [0.25, 0.1]}
    text = orjson.dumps({"model_name": "m", "outputs": [output]})
    assert loads(text, "outputs") is not None
    assert both_ways.response(text).output("y").tolist() == [[0.25], [np.float32(0.1)]]


def test_more_lists_than_there_is_room_for_are_left_to_orjson() -> None:
    tensors = [f'{{"name": "x{place}", "shape": [1], "datatype": "FP64", "data": [{place}]}}' for place in range(300)]
    found = both_ways.request(f'{{"inputs": [{",".join(tensors)}]}}'.encode())
    assert [tensor.array.item() for tensor in found.inputs.values()] == list(range(300))


def test_lists_and_binary_data_stand_side_by_side() -> None:
    head = filled('{"inputs": [<one>, {"name": "y", "shape": [1], "datatype": "FP64", <size>}]}')
    head = head.replace(b"<size>", b'"parameters": {"binary_data_size": 8}')
    found = both_ways.request(head + struct.pack("<d", 2.5), len(head))
    assert (found.inputs["x"].array.item(), found.inputs["y"].array.item()) == (1.5, 2.5)


def test_arrays_share_no_memory() -> None:
    text = filled('{"inputs": [<one>, {"name": "y", "shape": [1], "datatype": "FP64", "data": [2]}]}')
    first, again = both_ways.request(text), both_ways.request(text)
    first.inputs["x"].array[:] = 7.0
    assert first.inputs["y"].array.tolist() == [2.0]
    assert again.inputs["x"].array.tolist() == [1.5]
    assert first.inputs["x"].array.flags.owndata


def test_small_bodies_are_left_to_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_numbers, "LEAST_BYTES", len(READ["flat"]) + 1)
    assert loads(READ["flat"]) is None


def test_nothing_is_read_by_the_loop_before_it_is_loaded() -> None:
    code = (
        "import sys; from headrace.open_inference.codec import bodies, json_numbers; json_numbers.LEAST_BYTES = 0; "
        f"body = {READ['flat']!r}; assert json_numbers.loads(body, len(body), 'inputs') is None; "
        "assert 'numba' not in sys.modules; json_numbers.prepare(); json_numbers.prepare(); "
        "assert json_numbers.loads(body, len(body), 'inputs')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

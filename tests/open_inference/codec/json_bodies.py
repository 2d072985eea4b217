"""Bodies with lists of numbers, usual and strange, and numbers that are hard to read."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from headrace.open_inference.codec import json_numbers

DECIMALS = st.builds(
    lambda sign, digits, fraction, exponent: f"{sign}{digits}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    st.just("0") | st.from_regex(r"[1-9][0-9]{0,24}", fullmatch=True),
    st.just("") | st.from_regex(r"\.[0-9]{1,25}", fullmatch=True),
    st.just("") | st.from_regex(r"[eE][+-]?[0-9]{1,3}", fullmatch=True),
)


@st.composite
def halves(draw: Any) -> str:
    """A decimal that lies halfway between two float64, or beside that in its last digit."""
    odd, power = 2 * draw(st.integers(2**52, 2**53 - 1)) + 1, draw(st.integers(-8, 8))
    exact = f"{odd * 2**power if power >= 0 else odd * 5**-power:d}"
    digits = int(exact) + draw(st.integers(-1, 1))
    return f"{digits}e{min(power, 0)}"


def body(data: str, datatype: str = "FP64", shape: Any = None, more: str = "") -> bytes:
    shape = shape if shape is not None else [data.count(",") + 1]
    tensor = f'"name": "x", "shape": {json.dumps(shape)}, "datatype": "{datatype}", "data": {data}'
    return f'{{"inputs": [{{{tensor}}}]{more}}}'.encode()


def loads(text: bytes, member: str = "inputs") -> Any:
    return json_numbers.loads(text, len(text), member)


VALID = [
    body("[1.5, -2, 3e2, null]"),
    body("[[1, 2], [30, 40]]", "INT32", [2, 2]),
    body("[[0.1, 2e-3], [0, -0.0]]", "FP32", [2, 2], ', "parameters": {"a": "data"}, "outputs": [{"name": "data"}]'),
    body("[12345678, 9]", "INT64", [2], ', "id": "\\"data\\": [1, 2]"'),
]


def filled(text: str) -> bytes:
    """Return a body in which <x> stands for a tensor's members but its data, and <one> for a tensor."""
    return (
        text.replace("<one>", '{<x>, "data": [1.5]}')
        .replace("<x>", '"name": "x", "shape": [1], "datatype": "FP64"')
        .encode()
    )


STRANGE = {
    "a parameter": '{"inputs": [<one>], "parameters": {"data": [1, 2]}}',
    "a parameter and no data": '{"inputs": [{<x>, "parameters": {"data": [1]}}]}',
    "of outputs": '{"inputs": [<one>], "outputs": [{"name": "y", "data": [1, 2]}]}',
    "beside inputs": '{"inputs": [<one>], "data": [1, 2]}',
    "of an answer": '{"outputs": [<one>], "inputs": [<one>]}',
    "twice": '{"inputs": [{<x>, "data": [3], "data": [1]}]}',
    "twice, no list last": '{"inputs": [{<x>, "data": [3], "data": "a"}]}',
    "twice, a list last": '{"inputs": [{<x>, "data": "a", "data": [3]}]}',
    "inputs twice": '{"inputs": [{<x>, "data": [3]}], "inputs": [<one>]}',
    "an escaped key": r'{"inputs": [{<x>, "d\u0061ta": [1]}]}',
    "an escaped key after": r'{"inputs": [{<x>, "data": [3], "d\u0061ta": [1]}]}',
    "a quote in a key": r'{"inputs": [{<x>, "x\"data": [1], "data": [3]}]}',
    "a backslash in a key": r'{"inputs": [{<x>, "\\": 1, "data": [3]}]}',
    "a backslash before": r'{"inputs": [{<x>, \"data": [3]}]}',
    "words in a string": r'{"id": "\"data\": [1, 2]", "inputs": [<one>]}',
    "words of an element": '{"inputs": [{"name": "b", "shape": [1], "datatype": "BYTES", "data": ["data"]}, <one>]}',
    "within data": '{"inputs": [{<x>, "data": [{"data": [1]}]}]}',
    "three deep": '{"inputs": [{"name": "x", "shape": [1, 1, 1], "datatype": "FP64", "data": [[[1]]]}]}',
    "a true shape": '{"inputs": [{"name": "x", "shape": [true], "datatype": "FP64", "data": [1]}]}',
    "a shape of a float": '{"inputs": [{"name": "x", "shape": [1.0], "datatype": "FP64", "data": [null]}]}',
    "booleans": '{"inputs": [{"name": "x", "shape": [1], "datatype": "BOOL", "data": [1]}]}',
    "half": '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP16", "data": [1]}]}',
    "beside binary data": '{"inputs": [{<x>, "data": [1], "parameters": {"binary_data_size": 8}}]}',
    "no object": "[<one>]",
    "no list": '{"inputs": <one>}',
    "a name": '{"inputs": [{"name": {"data": [1]}, "shape": [1], "datatype": "FP64", "data": [1]}]}',
    "after a closing quote": '{"id": "a"data": [1], "inputs": [<one>]}',
    "as deep as JSON may be": '{"inputs": [<one>], "a": ' + '{"a": ' * 1021 + '{"data": [1]}' + "}" * 1022,
}


READ = {
    "flat": body("[1.5, 2, null]"),
    "rows": body("[[1.5, 2], [3, 4]]", "FP32", [2, 2]),
    "flat for a shape": body("[1, 2, 3, 4]", "UINT8", [2, 1, 2]),
    "digits": body("[0.30000000000000004, 1234567890123456789, 1.7976931348623157e308, 0.00012345678901234567]"),
    "beside a quote in a key": filled(STRANGE["a quote in a key"]),
    "beside words": filled(STRANGE["words in a string"]),
    "beside strings": filled(STRANGE["words of an element"]),
}

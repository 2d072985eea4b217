"""The codecs under arbitrary and nearly right bytes: nothing but refusals, nothing larger than what came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import begun, kept, rest
from tests.fuzz.targets import TARGETS

_SEEDS = [(target, data) for target, inputs in begun().items() for data in inputs]
_LENGTHS = st.one_of(st.integers(-2, 5), st.sampled_from([2**31 - 1, 2**31, 2**32, 2**63, 2**64, -(2**63)]))
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_DATATYPES = st.sampled_from(["BOOL", "INT8", "UINT64", "FP16", "FP32", "FP64", "BYTES", "BF16", "", "fp32"])
_TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y", "", "\u00e9" * 201]) | _ANY,
        "shape": st.lists(_LENGTHS, max_size=4) | _ANY,
        "datatype": _DATATYPES | _ANY,
        "data": st.lists(_ANY, max_size=6) | _ANY,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "a"]), _LENGTHS | _ANY, max_size=2) | _ANY,
    },
)
_REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(_TENSORS | _ANY, max_size=3) | _ANY},
    optional={
        "id": _ANY,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_output", "a"]), _ANY, max_size=2) | _ANY,
        "outputs": st.lists(_TENSORS, max_size=2) | _ANY,
    },
)


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_stays_mended(target: str) -> None:
    found = kept(target)
    assert found
    for data in found.values():
        TARGETS[target](data)


def test_the_corpus_holds_what_fuzzing_begins_with() -> None:
    for target, inputs in begun().items():
        assert set(inputs) <= set(kept(target).values())


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=200))
def test_any_bytes(target: str, data: bytes) -> None:
    TARGETS[target](data)


@given(seed=st.sampled_from(_SEEDS), at=st.integers(0, 400), size=st.integers(0, 3), new=st.binary(max_size=3))
def test_bytes_that_are_nearly_right(seed: tuple[str, bytes], at: int, size: int, new: bytes) -> None:
    target, data = seed
    at %= len(data)
    TARGETS[target](data[:at] + new + data[at + size :])


@given(content=_REQUESTS, raw=st.none() | st.binary(max_size=24))
def test_json_that_is_nearly_right(content: dict[str, Any], raw: bytes | None) -> None:
    body = json.dumps(content).encode()
    TARGETS["rest"](rest(body, raw))
    TARGETS["answer"](rest(json.dumps({"model_name": "m", "outputs": content["inputs"]}).encode(), raw))

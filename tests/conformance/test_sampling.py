"""Requests that are made of a model's metadata keep to what it tells of its inputs."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.conformance.sampling import made
from tests.transformer.small import APP
from transformer.metadata import metadata_of
from transformer.rows import ACCEPTED


@pytest.mark.parametrize(
    ("datatype", "told", "element"),
    [
        ("FP64", None, 0.5),
        ("FP64", {"minimum": 10, "maximum": 20}, 10.0),
        ("FP32", {"maximum": -3.5}, -3.5),
        ("INT64", {"minimum": 2.5, "maximum": 9}, 3),
        ("INT32", {"maximum": -0.5}, -1),
        ("INT64", {"example": 1_700_000_000_000}, 1_700_000_000_000),
        ("INT64", {"example": 1.5, "minimum": 4}, 4),
        ("FP64", {"example": 12.5, "minimum": 10}, 12.5),
        ("FP64", {"example": True}, 0.5),
        ("BYTES", {"example": "grocery"}, b"grocery"),
        ("BYTES", {"example": 7}, b"1"),
        ("BOOL", {"example": False}, True),
        ("FP64", "nonsense", 0.5),
    ],
)
def test_elements_are_the_example_or_lie_within_the_bounds(datatype: str, told: Any, element: Any) -> None:
    item = {"name": "x", "datatype": datatype, "shape": [-1], **({} if told is None else {"parameters": told})}
    (tensor,) = made([item], rows=2)
    assert tensor.data == (element, element)
    assert [type(each) for each in tensor.data] == [type(element)] * 2


def test_a_transformer_of_bounded_columns_is_asked_within_them() -> None:
    columns = {column.name: column for column in APP.view.request}
    for tensor in made(metadata_of("small", APP)["inputs"], rows=1):
        column = columns[tensor.name]
        if ACCEPTED[column.dtype][0] in ("FP64", "INT64"):
            assert column.low <= tensor.data[0] <= column.high

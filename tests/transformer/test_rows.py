"""From tensors and v1 instances to typed rows: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.features import Column, FeatureView
from headrace.features.rows import Rows
from headrace.open_inference import InvalidRequest, OpenInferenceError, Tensor, TooLarge
from headrace.stores.online import Block
from tests.transformer.small import NOW, VIEW, row
from transformer.rows import ACCEPTED, rows_of, status_of, tensors_of

NONE, INSTANT = "no row can be answered: ", "is not an instant, needs epoch milliseconds or ISO 8601"
AMOUNT = "amount is missing, infinite or out of range, needs a number from 0 to 1000"
WHOLE = "INT64, INT32, INT16, INT8, UINT64, UINT32, UINT16, UINT8"
COLUMNS = "user, at, amount, visits, member, seen, note"


def rows(inputs: dict[str, Tensor], most: int = 100) -> Rows:
    return rows_of(VIEW, inputs, NOW + 5, most)


def refusal(inputs: dict[str, Tensor], kind: type[OpenInferenceError] = InvalidRequest, most: int = 100) -> str:
    with pytest.raises(OpenInferenceError) as refused:
        rows(inputs, most)
    assert type(refused.value) is kind
    return refused.value.message


def test_columns_become_what_features_are_computed_from() -> None:
    found = rows(row(amount=np.float32(2.5), visits=np.int8(3), member=True, seen=b"1970-01-01T00:00:01Z", note="x"))
    assert found.count == 1
    assert found.as_of.tolist() == [NOW]
    assert {name: values.tolist() for name, values in found.columns.items()} == {
        "user": ["ann"],
        "at": [float(NOW)],
        "amount": [2.5],
        "visits": [3.0],
        "member": [1.0],
        "seen": [1000.0],
        "note": ["x"],
    }
    assert found.invalid == {}


def test_what_is_absent_is_missing_and_the_time_is_now() -> None:
    found = rows(row(at=None))
    assert found.as_of.tolist() == [NOW + 5]
    assert np.isnan([found.columns[name][0] for name in ("visits", "member", "seen")]).all()


@pytest.mark.parametrize("name", ["amount", "visits", "member", "at"])
def test_every_accepted_datatype_says_the_same(name: str) -> None:
    kinds = {"FP64": "f8", "FP32": "f4", "FP16": "f2", "BOOL": "?"}
    column = VIEW.request_column(name)
    for datatype in ACCEPTED[column.dtype]:
        if datatype == "BYTES":
            array: np.ndarray = np.array([b"1"], dtype=object)
        else:
            array = np.array([1], dtype=kinds.get(datatype) or datatype.lower())
        assert rows(row(**{name: Tensor(name, datatype, array)})).columns[name].tolist() == [1.0]


def test_a_column_may_stand_upright() -> None:
    found = rows(row(user=[["ann"], ["bob"]], at=[NOW, NOW], amount=[[1.0], [2.0]]))
    assert found.columns["amount"].tolist() == [1.0, 2.0]
    assert found.columns["user"].tolist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ammount": 1.0}, "input 'ammount' is unknown, needs one of " + COLUMNS + "; did you mean 'amount'?"),
        ({"zzz": 1.0}, "input 'zzz' is unknown, needs one of " + COLUMNS),
        ({"amount": None}, "input 'amount' is missing, got user, at"),
        ({"amount": None, "user": None}, "input 'user', 'amount' is missing, got at"),
        ({"amount": "10"}, "input 'amount' has datatype BYTES, needs one of FP64, FP32, FP16, " + WHOLE),
        ({"user": 7}, "input 'user' has datatype INT64, needs one of BYTES"),
        ({"visits": 1.0}, "input 'visits' has datatype FP64, needs one of " + WHOLE),
        ({"at": 1.5}, "input 'at' has datatype FP64, needs one of INT64, UINT64, BYTES"),
        ({"amount": [[1.0, 2.0]]}, "input 'amount' has shape [1, 2], needs [n] or [n, 1]"),
        ({"amount": Tensor.of("amount", np.array(1.0))}, "input 'amount' has shape [], needs [n] or [n, 1]"),
        ({"amount": [1.0, 2.0]}, "input 'amount' has 2 rows, needs 1 like the columns before it"),
        ({"visits": np.array([2**63], np.uint64)}, "input 'visits' has values beyond INT64, needs at most 2^63 - 1"),
        ({"amount": np.nan}, NONE + AMOUNT),
        ({"amount": np.inf}, NONE + AMOUNT),
        ({"amount": 1000.5}, NONE + AMOUNT),
        ({"member": 2}, NONE + "member is neither true nor false, needs one of them, or 1 or 0"),
        ({"at": "noon"}, f"{NONE}at {INSTANT}"),
        ({"seen": "noon"}, f"{NONE}seen {INSTANT}"),
        ({"at": 10**17}, f"{NONE}at {INSTANT}"),
        ({"user": ""}, "no row can be answered: user is empty, needs a key"),
        ({"amount": -1.0, "at": "noon"}, f"{NONE}at {INSTANT}; {AMOUNT}"),
    ],
)
def test_what_is_refused_says_what_was_found_and_needed(changed: dict[str, Any], message: str) -> None:
    assert refusal(row(**changed)) == message


def test_no_input_no_row_and_too_many_rows() -> None:
    assert refusal({}) == "input 'user', 'amount' is missing, got no column"
    assert refusal(row(user=[], at=[], amount=[])).startswith("input 'user' has datatype")
    empty = {name: Tensor(name, tensor.datatype, tensor.array[:0]) for name, tensor in row().items()}
    assert refusal(empty) == "the request has 0 rows, needs at least 1"
    three = {name: np.repeat(tensor.array, 3) for name, tensor in row().items()}
    assert refusal(row(**three), TooLarge, most=2) == "input 'user' has 3 rows, needs at most 2"
    assert rows(row(**three), most=3).count == 3


def test_a_bad_row_is_marked_and_its_neighbours_are_not() -> None:
    found = rows(row(user=["ann", "bob", "cid", ""], at=[NOW] * 4, amount=[1.0, np.nan, -np.inf, 4.0]))
    assert found.invalid["amount"].tolist() == [False, True, True, False]
    assert found.invalid["user"].tolist() == [False, False, False, True]
    assert found.spoiled().tolist() == [False, True, True, True]
    np.testing.assert_array_equal(found.columns["amount"], [1.0, np.nan, np.nan, 4.0])


def test_an_unreadable_instant_is_now() -> None:
    found = rows(row(user=["ann", "bob"], at=["noon", str(NOW)], amount=[1.0, 2.0]))
    assert found.as_of.tolist() == [NOW + 5, NOW]
    assert found.invalid["at"].tolist() == [True, False]


def test_text_that_is_not_utf8_is_text_still() -> None:
    assert rows(row(user=b"\xff\xfe")).columns["user"].tolist() == ["\ufffd\ufffd"]


def block(found: list[bool], exact: list[bool]) -> Block:
    size = len(found)
    return Block(np.zeros((size, 2)), np.array(found), np.zeros(size), np.array(exact))


def test_the_status_of_a_row_names_everything() -> None:
    given = rows(row(user=["ann", "bob", "cid"], at=[NOW] * 3, amount=[1.0, np.nan, 3.0], member=[1, 7, 0]))
    blocks = {"users": block([True, False, True], [True, True, False]), "shops": block([True] * 3, [True] * 3)}
    assert status_of(given, blocks).tolist() == [
        b"ok",
        b"amount invalid, member invalid, users missing",
        b"users approximate",
    ]


def test_instances_become_tensors() -> None:
    found = tensors_of(
        VIEW,
        [
            {"user": "ann", "at": NOW, "amount": 1, "visits": 2, "member": True},
            {"user": "bob", "at": "2023-11-14T22:13:20Z", "amount": 2.5, "visits": 3, "note": "x"},
        ],
    )
    kinds = {name: tensor.datatype for name, tensor in found.items()}
    assert kinds == {
        "user": "BYTES",
        "at": "BYTES",
        "amount": "FP64",
        "visits": "INT64",
        "member": "FP64",
        "note": "BYTES",
    }
    given = rows(found)
    assert given.as_of.tolist() == [NOW, NOW]
    np.testing.assert_array_equal(given.columns["member"], [1.0, np.nan])
    assert given.columns["visits"].tolist() == [2.0, 3.0]
    assert given.invalid == {}


@pytest.mark.parametrize(
    "said", [NOW, float(NOW), str(NOW), "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "2023-11-14 22:13:20"]
)
def test_an_instance_says_when_in_any_way(said: Any) -> None:
    given = rows(tensors_of(VIEW, [{"user": "ann", "at": said, "amount": 1}]))
    assert given.as_of.tolist() == [NOW]
    assert given.invalid == {}


def test_a_number_may_stand_for_text() -> None:
    given = rows(tensors_of(VIEW, [{"user": 7, "amount": 1}, {"user": 8.0, "amount": 1}]))
    assert given.columns["user"].tolist() == ["7", "8"]


def test_null_beside_values_is_missing_in_its_row_alone() -> None:
    some = [
        {"user": "ann", "at": NOW, "amount": 1, "member": 1},
        {"user": "bob", "at": None, "amount": 2, "seen": "noon"},
    ]
    given = rows(tensors_of(VIEW, some))
    assert given.as_of.tolist() == [NOW, NOW + 5]
    assert {name: marks.tolist() for name, marks in given.invalid.items()} == {"seen": [False, True]}
    np.testing.assert_array_equal(given.columns["member"], [1.0, np.nan])


def test_null_in_an_instance_is_missing() -> None:
    """A missing optional value spoils nothing: the row's time is now."""
    given = rows(
        tensors_of(
            VIEW, [{"user": "ann", "at": None, "amount": 1, "member": None, "seen": None, "note": None, "visits": None}]
        )
    )
    assert given.invalid == {}
    assert given.as_of.tolist() == [NOW + 5]
    assert np.isnan(given.columns["member"][0])
    assert np.isnan(given.columns["seen"][0])
    with pytest.raises(InvalidRequest, match="no row can be answered: amount is missing, infinite or out of range"):
        rows(tensors_of(VIEW, [{"user": "ann", "amount": None}]))
    with pytest.raises(InvalidRequest, match="no row can be answered: user is empty, needs a key"):
        rows(tensors_of(VIEW, [{"user": None, "amount": 1}]))


UNWHOLE = "'visits' is not whole in an instance, needs int64"
OBJECTS = '\'instances\' is not a list of objects, needs one object per row such as {"user": ..., "amount": ...}'


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        (None, OBJECTS),
        ([], "'instances' has 0 rows, needs at least 1"),
        ({"user": "ann"}, OBJECTS),
        ([{"user": "ann"}, 7], OBJECTS),
        ([{"amount": "10"}], "'amount' holds a str in an instance, needs float64"),
        ([{"amount": [10]}], "'amount' holds a list in an instance, needs float64"),
        ([{"member": "yes"}], "'member' holds a str in an instance, needs bool"),
        ([{"visits": 1.5}], UNWHOLE),
        ([{"visits": True}], "'visits' holds a bool in an instance, needs int64"),
        ([{"amount": True}], "'amount' holds a bool in an instance, needs float64"),
        ([{"note": True}], "'note' holds a bool in an instance, needs string"),
        ([{"visits": 2**63}], "'visits' is beyond 64 bits in an instance, needs int64"),
        ([{"visits": 2.0**53 + 2}], UNWHOLE),
        ([{"visits": float("nan")}], UNWHOLE),
        ([{"visits": "2"}], "'visits' holds a str in an instance, needs int64"),
        ([{"user": {"name": "ann"}}], "'user' holds a dict in an instance, needs string"),
        ([{"at": [NOW]}], "'at' holds a list in an instance, needs timestamp"),
        (
            [{"visits": 2}, {"visits": None}],
            "'visits' is null in an instance, needs int64 in every one, or in none",
        ),
    ],
)
def test_instances_that_are_none(instances: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        tensors_of(VIEW, instances)
    assert refused.value.message == message


def test_half_a_character_is_data_like_any_other() -> None:
    assert rows(tensors_of(VIEW, [{"user": "\ud800", "amount": 1}])).columns["user"].tolist() == ["?"]


def test_numbers_beyond_a_double_are_infinite() -> None:
    with pytest.raises(InvalidRequest, match="amount is missing, infinite or out of range"):
        rows(tensors_of(VIEW, [{"user": "ann", "amount": 10**400}]))


def test_an_unknown_name_in_an_instance_is_refused_as_in_a_tensor() -> None:
    with pytest.raises(InvalidRequest, match=r"input 'ammount' is unknown, needs one of .*; did you mean 'amount'"):
        rows(tensors_of(VIEW, [{"user": "ann", "ammount": "much"}]))


def test_instances_are_refused_before_anything_is_built_of_them() -> None:
    with pytest.raises(TooLarge, match="'instances' has 11 rows, needs at most 10"):
        tensors_of(VIEW, [{"amount": 1.0}] * 11, 10)
    with pytest.raises(InvalidRequest) as refused:
        tensors_of(VIEW, [{"x" * 100_000: 1}], 10)
    assert len(refused.value.message) < 300


def test_a_whole_number_may_be_written_as_a_float_in_an_instance() -> None:
    assert tensors_of(VIEW, [{"visits": 7.0}, {"visits": -(2.0**53)}])["visits"].array.tolist() == [7, -(2**53)]


@pytest.mark.parametrize("key", [-(2**63), 2**63 - 1])
def test_every_key_of_64_bits_is_taken_in_an_instance(key: int) -> None:
    view = FeatureView("v", 1, (Column("card", "int64"),), (), ("request.card",), time="")
    assert tensors_of(view, [{"card": key}])["card"].array.tolist() == [key]

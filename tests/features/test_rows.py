"""Request columns become rows; one bad value spoils its own row, and a bad request says why."""

import numpy as np
import pytest

from headrace.features import Column, FeatureView, Window, WindowedGroup
from headrace.features.columns import NO_TIME
from headrace.features.rows import RowsError, conform

NOW = 1_700_000_000_000
GROUP = WindowedGroup("activity", 1, "payments", "card", "at", "amount", ("count",), (Window("1h", 3600),))
REQUEST = (
    Column("card", "int64"),
    Column("at", "timestamp", required=False),
    Column("seen", "timestamp", required=False),
    Column("amount", low=0, high=100),
    Column("latitude", low=-90, high=90, required=False),
    Column("note", "string", required=False),
)
VIEW = FeatureView("v", 1, REQUEST, (GROUP,), ("request.amount", "activity.amount_count_1h"), time="at")


def rows(**given):
    """Conform two rows, the given columns replaced."""
    columns = {"card": np.array([1, 2]), "amount": np.array([1.0, 2.0]), **given}
    return conform(VIEW, {name: np.asarray(values) for name, values in columns.items()}, NOW)


def test_absent_optional_columns_are_missing_and_the_clock_says_when():
    got = rows()
    assert got.as_of.tolist() == [NOW, NOW]
    assert got.columns["at"].tolist() == [NOW, NOW]
    assert np.isnan(got.columns["latitude"]).all()
    assert np.isnan(got.columns["seen"]).all()
    assert not got.invalid
    assert not got.spoiled().any()


def test_the_time_column_says_when():
    got = rows(at=["1970-01-01T00:00:01Z", 2000])
    assert got.as_of.tolist() == [1000, 2000]
    assert got.as_of.dtype == np.int64


def test_an_unreadable_time_is_now_and_its_row_is_marked():
    got = rows(at=np.array([5, NO_TIME]), seen=np.array([NO_TIME, 7]))
    assert got.as_of.tolist() == [5, NOW]
    assert np.isnan(got.columns["seen"]).tolist() == [True, False]
    assert got.invalid["at"].tolist() == [False, True]
    assert got.spoiled().tolist() == [True, True]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, -0.1, 100.1, np.nan, 1e39])
def test_a_value_no_feature_can_use_is_missing_in_its_row_only(bad):
    got = rows(amount=[bad, 5.0])
    assert np.isnan(got.columns["amount"]).tolist() == [True, False]
    assert got.spoiled().tolist() == [True, False]


def test_a_missing_optional_value_is_no_fault():
    assert not rows(latitude=[np.nan, 45.0]).spoiled().any()
    assert rows(latitude=[91.0, 45.0]).spoiled().tolist() == [True, False]


def test_numbers_come_as_integers_bools_or_objects_too():
    assert rows(amount=np.array([1, 2], dtype=np.int32)).columns["amount"].dtype == np.float64
    assert rows(amount=np.array([True, False])).columns["amount"].tolist() == [1, 0]
    assert np.isnan(rows(latitude=np.array([None, 2], dtype=object)).columns["latitude"]).tolist() == [True, False]


@pytest.mark.parametrize("bad", [1.5, np.nan, np.inf, 2.0**60])
def test_a_key_that_is_no_whole_number_spoils_its_row(bad):
    got = rows(card=np.array([bad, 7.0]))
    assert got.columns["card"].tolist() == [0, 7]
    assert got.invalid["card"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ammount": [1, 2]}, r"column 'ammount' is unknown, needs one of card, at, .*; did you mean 'amount'\?"),
        ({"amount": [1.0, 2.0, 3.0]}, r"column 'amount' has 3 rows, needs 2 like the columns before it"),
        ({"amount": ["much", "more"]}, r"column 'amount' holds values that are not numbers, needs float64"),
    ],
)
def test_a_request_that_does_not_fit_says_why(given, message):
    with pytest.raises(RowsError, match=message):
        rows(**given)


def test_a_required_column_is_asked_for_by_name():
    with pytest.raises(RowsError, match="column 'amount' is missing, got card"):
        conform(VIEW, {"card": np.array([1])}, NOW)
    with pytest.raises(RowsError, match="column 'card', 'amount' is missing, got no column"):
        conform(VIEW, {}, NOW)


def test_a_request_without_any_column_is_refused_even_where_none_is_required():
    optional = FeatureView("v", 1, (Column("x", required=False),), (), ("request.x",))
    with pytest.raises(RowsError, match="no column was given, needs at least one of x"):
        conform(optional, {}, NOW)


def test_no_rows_give_no_rows():
    got = rows(card=np.array([], dtype=np.int64), amount=np.array([]))
    assert got.count == got.as_of.size == got.spoiled().size == 0


@pytest.mark.parametrize(("value", "fits"), [(3.4e38, True), (-3.4e38, True), (3.5e38, False), (-1e300, False)])
def test_a_number_that_float32_cannot_hold_is_infinite_to_a_model(value, fits):
    view = FeatureView("v", 1, (Column("amount"),), (), ("request.amount",), time="")
    rows = conform(view, {"amount": np.array([1.0, value])}, NOW)
    assert ("amount" in rows.invalid, np.isnan(rows.columns["amount"]).tolist()) == (not fits, [False, not fits])


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_an_optional_key_that_is_left_out_or_null_is_nobodys_and_no_fault(dtype):
    column = Column("card", dtype, required=False)
    view = FeatureView("v", 1, (column, *REQUEST[1:]), (GROUP,), VIEW.columns, time="at")
    amounts = {"amount": np.array([1.0, 2.0])}
    out = conform(view, amounts, NOW)
    assert out.unkeyed["card"].tolist() == [True, True]
    assert len(out.columns["card"]) == 2
    keys = np.array([None, 7 if dtype == "int64" else "seven"], dtype=object)
    null = conform(view, {**amounts, "card": keys}, NOW)
    assert null.unkeyed["card"].tolist() == [True, False]
    assert null.columns["card"][1] == keys[1]
    assert (out.invalid, null.invalid) == ({}, {})


def test_an_optional_key_that_is_none_is_a_fault_of_its_row():
    view = FeatureView(
        "v", 1, (Column("card", "int64", required=False), *REQUEST[1:]), (GROUP,), VIEW.columns, time="at"
    )
    got = conform(view, {"amount": np.array([1.0, 2.0, 3.0]), "card": np.array([np.nan, 1.5, 2.0])}, NOW)
    assert got.unkeyed["card"].tolist() == [True, True, False]
    assert got.invalid["card"].tolist() == [False, True, False]


@pytest.mark.parametrize("bad", [7, 0.5, -1, 2.0])
def test_a_truth_value_is_true_or_false_whatever_bounds_are_declared(bad):
    view = FeatureView("v", 1, (Column("flag", "bool", required=False),), (), ("request.flag",), time="")
    got = conform(view, {"flag": np.array([bad, 1, 0, np.nan])}, NOW)
    assert got.invalid["flag"].tolist() == [True, False, False, False]
    np.testing.assert_array_equal(got.columns["flag"], [np.nan, 1.0, 0.0, np.nan])

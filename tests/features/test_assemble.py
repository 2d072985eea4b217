"""A plan moves every number to its own column, in the order of the view."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from applications.fraud.features import FRAUD_VIEW
from headrace.features import Column, FeatureView, OnDemand, Plan, Window, WindowedGroup

A = WindowedGroup("a", 1, "s", "k", "t", "x", ("count", "mean"), (Window("1", 60), Window("2", 120)), ("y",))
B = WindowedGroup("b", 1, "s", "k", "t", "z", ("max",), (Window("1", 60),))
REQUEST = (Column("k", "int64"), Column("p", missing=-1.0), Column("q"))


def total(x, y):
    return x + y


SUM = OnDemand("sum", total, ("request.p", "a.last_y"), missing=-7.0)
EVERY = ("request.p", "request.q", *(f"a.{n}" for n in A.column_names), *(f"b.{n}" for n in B.column_names), SUM)
INPUTS: dict[str, Any] = {"request.p": 1.0, "request.q": 2.0, "a": [10.0, 11.0, 12.0, 13.0, 14.0], "b": [20.0]}


def name_of(column):
    """Return a column's name in the model's input."""
    return column.name if isinstance(column, OnDemand) else column.partition(".")[2]


EXPECTED = {
    "p": 1.0,
    "q": 2.0,
    **dict(zip(A.column_names, INPUTS["a"], strict=True)),
    **dict(zip(B.column_names, INPUTS["b"], strict=True)),
    "sum": 15.0,
}


@given(st.permutations(EVERY), st.integers(1, len(EVERY)), st.integers(0, 5))
def test_the_matrix_has_the_order_of_the_view_whatever_that_is(order, width, rows):
    view = FeatureView("v", 1, REQUEST, (A, B), tuple(order[:width]))
    request = {"k": np.zeros(rows), "p": np.full(rows, 1.0), "q": np.full(rows, 2.0)}
    blocks = {"a": np.tile(INPUTS["a"], (rows, 1)), "b": np.tile(INPUTS["b"], (rows, 1))}
    matrix = Plan.of(view).assemble(rows, request, blocks)
    assert matrix.dtype == np.float32
    assert matrix.shape == (rows, width)
    assert view.names == tuple(map(name_of, order[:width]))
    for row in matrix:
        assert dict(zip(view.names, row.tolist(), strict=True)) == {name: EXPECTED[name] for name in view.names}


def assembled(p, block, fill=True):
    """Assemble one row over the columns p, a's first mean and the sum."""
    view = FeatureView("v", 1, REQUEST, (A,), ("request.p", "a.x_mean_1", "a.x_count_1", SUM))
    plan = Plan.of(view)
    make = plan.assemble if fill else plan.compute
    return make(1, {"p": np.array([p]), "q": np.array([0.0])}, {"a": np.array([block])})[0].tolist()


def test_missing_is_filled_once_after_the_functions_have_run():
    nan = np.nan
    assert assembled(nan, [0.0, nan, 0.0, nan, nan])[0] == -1.0
    assert assembled(nan, [0.0, nan, 0.0, nan, 4.0])[3] == -7.0  # not -1 + 4
    assert np.isnan(assembled(nan, [0.0, nan, 0.0, nan, 4.0], fill=False)).tolist() == [True, True, False, True]


def test_a_column_without_a_declared_missing_value_stays_nan():
    assert np.isnan(assembled(1.0, [0.0, np.nan, 0.0, np.nan, 4.0])[1])


def test_the_fraud_view_has_no_column_that_can_stay_missing_unsaid():
    circle = {
        "hour_sin",
        "hour_cos",
        "weekday_sin",
        "weekday_cos",
        "is_weekend",
        "is_night",
    }  # of the time, always there
    unsaid = {name for name, missing in zip(FRAUD_VIEW.names, FRAUD_VIEW.missing, strict=True) if np.isnan(missing)}
    assert unsaid <= circle


def test_a_plan_needs_every_block_of_its_view():
    plan = Plan.of(FeatureView("v", 1, REQUEST, (A,), ("a.x_mean_1",)))
    with pytest.raises(KeyError, match="a"):
        plan.compute(1, {}, {})


def test_what_is_too_large_for_the_model_is_missing():
    assert assembled(1.0, [1e39, 11.0, 2.0, 13.0, 1e300])[:1] == [1.0]
    filled = assembled(1.0, [1e39, 1e39, 1e39, 1e39, 1e300])
    assert np.isfinite(filled[2:]).all()
    assert filled[3] == -7.0

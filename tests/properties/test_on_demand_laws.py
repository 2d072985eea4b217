"""Laws every on-demand function keeps: one value or many, once or twice, the answer is the same."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import applications
from headrace.features import Column, FeatureView, OnDemand, calendar, comparisons, elementwise, geo
from headrace.features.kernels import unfit
from headrace.features.loops import loop_of
from tests.oracles import naive_functions

LIBRARY = {
    f"{module.__name__.rsplit('.', 1)[-1]}.{name}": function
    for module in (geo, calendar, comparisons)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}


def views() -> list[FeatureView]:
    """Return every view that an application declares in its `features`."""
    found = []
    for package in pkgutil.iter_modules(applications.__path__):
        module = importlib.import_module(f"applications.{package.name}.features")
        found += [value for value in vars(module).values() if isinstance(value, FeatureView)]
    return found


DECLARED = {
    f"{view.name}.{column.name}": column for view in views() for column in view.columns if isinstance(column, OnDemand)
}
EVERY: dict[str, Callable[..., Any]] = {**LIBRARY, **{name: feature.compute for name, feature in DECLARED.items()}}

RANGES = {
    "lat": st.floats(-90, 90),
    "lon": st.floats(-180, 180),
    "ms": st.integers(-(10**11), 4 * 10**12).map(float),
    "": st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float),
}


def kind(parameter: str) -> str:
    """Return what a parameter holds, from its name."""
    return next(
        (kind for kind in ("lat", "lon") if parameter.startswith(kind)), "ms" if parameter.endswith("ms") else ""
    )


def rows_of(function) -> st.SearchStrategy:
    """Return rows of plausible arguments of a function."""
    arguments = [RANGES[kind(parameter)] for parameter in inspect.signature(function).parameters]
    return st.lists(st.tuples(*arguments), min_size=1, max_size=20)


def columns(rows: list[tuple[float, ...]]) -> list[np.ndarray]:
    """Return rows as one array per argument."""
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", EVERY)
@given(data=st.data())
def test_one_by_one_all_at_once_and_twice_give_the_same_answer(name, data):
    function = EVERY[name]
    rows = data.draw(rows_of(function))
    given_columns = columns(rows)
    before = [column.copy() for column in given_columns]
    with np.errstate(all="ignore"):
        together = np.asarray(function(*given_columns))
        again = np.asarray(function(*given_columns))
        alone = [float(function(*row)) for row in rows]
    assert together.shape == (len(rows),)
    np.testing.assert_array_equal(together, again)
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
    for column, kept in zip(given_columns, before, strict=True):
        np.testing.assert_array_equal(column, kept)


@pytest.mark.parametrize("name", EVERY)
@given(data=st.data())
def test_a_missing_input_gives_a_missing_answer_and_spoils_no_neighbour(name, data):
    function = EVERY[name]
    rows = data.draw(rows_of(function))
    at = data.draw(st.integers(0, len(rows) - 1))
    argument = data.draw(st.integers(0, len(rows[0]) - 1))
    spoiled = columns(rows)
    spoiled[argument] = spoiled[argument].copy()
    spoiled[argument][at] = np.nan
    with np.errstate(all="ignore"):
        whole, holed = np.asarray(function(*columns(rows))), np.asarray(function(*spoiled))
    assert np.isnan(holed[at])
    others = np.arange(len(rows)) != at
    np.testing.assert_array_equal(whole[others], holed[others])


@pytest.mark.parametrize("name", EVERY)
@given(data=st.data())
def test_the_loop_in_machine_code_gives_what_the_function_says(name, data):
    function = EVERY[name]
    loop = loop_of(function)
    rows = data.draw(rows_of(function))
    given_columns = columns(rows)
    given_columns[0] = np.where(np.arange(len(rows)) % 3 == 2, np.nan, given_columns[0])
    with np.errstate(all="ignore"):
        said = np.asarray(function(*given_columns))
        together = loop(*given_columns)
        alone = [loop(*(column[at : at + 1] for column in given_columns))[0] for at in range(len(rows))]
    np.testing.assert_allclose(together, said, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(together, alone)  # not a bit apart: one entity is served by it, many are trained


def scaled(value):
    return value * FACTOR


FACTOR = 2.0


@elementwise
def by_factor(value):
    return scaled_too(value) + 0.0


@elementwise
def scaled_too(value):
    return value * FACTOR


def test_a_loop_is_not_taken_for_that_of_another_constant_or_helper(monkeypatch):
    one = np.ones(1)
    assert loop_of(by_factor)(one) == 2.0
    loop_of.cache_clear()
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert loop_of(by_factor)(one) == 3.0
    loop_of.cache_clear()


@elementwise
def chosen(value, other):
    return np.where(value > other, value, np.where(other == 0.0, -1, other > 1.0)) + np.where(value, 1, 0)


@given(st.lists(st.tuples(*[st.sampled_from([-2.0, 0.0, 0.5, 1.5, math.nan, math.inf])] * 2), min_size=1))
def test_where_chooses_in_a_loop_as_it_does_among_arrays(pairs):
    value, other = np.array(pairs).T
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(loop_of(chosen)(value, other), chosen(value, other))


def test_a_function_that_is_not_declared_elementwise_stays_what_it_is():
    assert loop_of(scaled) is scaled


def test_a_function_that_has_no_loop_says_so():
    with pytest.raises(TypeError, match="'sorted_up' is declared elementwise and has no loop"):
        loop_of(sorted_up)


@elementwise
def sorted_up(value):
    return np.unique([str(value)])


@pytest.mark.parametrize("name", LIBRARY)
@given(data=st.data())
def test_the_answer_is_that_of_the_naive_twin(name, data):
    function, twin = LIBRARY[name], getattr(naive_functions, name.split(".")[1])
    for row in data.draw(rows_of(function)):
        with np.errstate(all="ignore"):
            got = float(function(*row))
        wanted = twin(*row)
        assert (math.isnan(got) and math.isnan(wanted)) or got == pytest.approx(wanted, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_function_of_the_library_says_what_it_does_and_shows_it(name):
    assert ">>>" in (LIBRARY[name].__doc__ or "")


@pytest.mark.parametrize("name", DECLARED)
def test_every_declared_feature_says_what_it_means_and_takes_what_its_function_takes(name):
    feature = DECLARED[name]
    assert feature.meaning
    assert len(feature.inputs) == len(inspect.signature(feature.compute).parameters)


def test_a_column_accepts_its_range_and_refuses_what_lies_beyond():
    values = np.array([-90.0, 90.0, -90.1, 90.1, np.inf, -np.inf, np.nan])
    outside = Column("latitude", low=-90, high=90).outside(values)
    assert outside.tolist() == [False, False, True, True, True, True, False]


@given(
    st.lists(st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, -90.0, 90.0]), max_size=30),
    st.sampled_from([(-90.0, 90.0), (0.0, math.inf), (-math.inf, math.inf)]),
    st.booleans(),
)
def test_a_request_is_held_to_the_bounds_that_an_event_is_held_to(values, bounds, required):
    """The loop that marks a request's numbers, and the array expression that marks those of events, agree."""
    column, numbers = Column("latitude", low=bounds[0], high=bounds[1], required=required), np.array(values, float)
    outside, marks = column.outside(numbers), np.empty(len(values), dtype=bool)
    count = unfit(numbers, column.low, column.high, column.required, marks)
    absent = np.isnan(np.array(values, float))
    assert marks.tolist() == (outside | (absent & required)).tolist()
    assert count == marks.sum()
    assert np.isnan(numbers).tolist() == (outside | absent).tolist()

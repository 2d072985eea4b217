"""On-demand functions as text: alone, row by row, on values as Hopsworks gives them, they answer what ours answer."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime, timedelta, timezone
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from applications.fraud.app import APP
from headrace.features import OnDemand
from headrace.features.calendar import hour_sin
from headrace.features.comparisons import ratio
from headrace.hopsworks.declared import Declared, NotDeclarable
from headrace.hopsworks.functions import Function, functions_of, input_of, request_parameter
from headrace.hopsworks.functions_source import headrace_number, source_of

CARD = Declared.of(APP).groups[0]
FUNCTIONS = {function.name: function for function in functions_of(CARD)}
OURS = {function.name: function for function in CARD.on_demand}
NOW = 1_767_225_600_000.0
SCALE = {"latitude": 90.0, "longitude": 180.0, "last_latitude": 90.0, "last_longitude": 180.0}


def compiled(source: str, name: str) -> Any:
    """Return the function a source defines, in a scope that holds nothing else."""
    scope: dict[str, Any] = {}
    code = compile(source, "<sent>", "exec")
    FunctionType(code, scope)()
    return scope[name]


def inputs(function: Function, chance: np.random.Generator) -> list[float | None]:
    """Return one value per input: instants around now, places on Earth, small amounts, and one in six missing."""
    values: list[float | None] = []
    for name in function.inputs:
        if chance.random() < 1 / 6:
            values.append(None)
        elif "datetime" in name:
            values.append(NOW + float(chance.integers(-(10**9), 10**9)))
        else:
            values.append(float(chance.uniform(-1, 1)) * SCALE[name] if name in SCALE else float(chance.exponential(9)))
    return values


def same(got: float | None, wanted: float) -> bool:
    """Tell whether an answer is ours to 1e-9, None standing for NaN."""
    return math.isnan(wanted) if got is None else math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("name", OURS)
def test_a_function_run_by_the_sdk_row_by_row_answers_what_ours_answers_on_arrays(name):
    function, ours = FUNCTIONS[name], OURS[name]
    run = function.udf()._get_udf(online=True, engine_type="python")
    rows = [inputs(function, np.random.default_rng(row)) for row in range(300)]
    columns = np.array([[np.nan if value is None else value for value in row] for row in rows]).T
    with np.errstate(all="ignore"):
        wanted = ours(*columns)
    answers = [run(*row) for row in rows]
    assert all(type(answer) in (float, type(None)) for answer in answers)
    wrong = [row for row, got, want in zip(rows, answers, wanted, strict=True) if not same(got, float(want))]
    assert not wrong
    assert any(answer is None for answer in answers)
    assert any(answer is not None for answer in answers)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_source_names_nothing_of_ours_and_is_taken_by_the_sdk_as_it_is(name):
    function = FUNCTIONS[name]
    assert "from headrace" not in function.source
    assert "import headrace" not in function.source
    assert compiled(function.source, name)(*[None] * len(function.inputs)) is None
    udf = function.udf()
    assert (udf.function_name, udf.output_column_names, udf.return_types) == (name, [name], ["double"])
    assert tuple(udf.transformation_features) == function.inputs
    assert udf.to_dict()["sourceCode"] == function.source


def test_a_parameter_whose_name_is_a_column_of_the_group_is_not_taken_from_the_stored_row():
    assert input_of(CARD, "request.datetime") == "request_datetime"
    assert input_of(CARD, "card_activity.last_datetime") == "last_datetime"
    assert request_parameter(CARD, "amount") == "amount"
    assert request_parameter(CARD, "cc_num") == "cc_num"
    stored = {feature.name for feature in CARD.features}
    for name, ours in OURS.items():
        asked = [i for i, s in zip(FUNCTIONS[name].inputs, ours.inputs, strict=True) if s.startswith("request.")]
        assert stored.isdisjoint(asked)


@given(st.integers(0, 4_102_444_800_000), st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_the_same_as_a_number_a_datetime_in_any_zone_and_a_text(ms, minutes):
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    there = at.astimezone(timezone(timedelta(minutes=minutes)))
    forms = [ms, at, there, at.replace(tzinfo=None), there.isoformat(), at.isoformat().replace("+00:00", "Z")]
    assert {headrace_number(form) for form in forms} == {float(ms)}


def test_what_is_missing_is_nan_and_a_truth_value_is_a_number():
    assert math.isnan(headrace_number(None))
    assert math.isnan(headrace_number(float("nan")))
    assert headrace_number(True) == 1.0


LIMIT, LIMITS = 10.0, (1, math.inf, ("a", None))


def helper(value: float, most: float = LIMIT) -> float:
    """Limit a value; this text is not sent."""
    return min(value, most)


renamed = helper


def test_helpers_constants_defaults_and_other_names_are_gathered():
    def uses_all(value: float) -> float:
        """Not sent either."""
        return renamed(value) + LIMITS[0] + math.floor(value) + (0 if LIMITS[1] > value else 1) + closed

    closed = 100
    source = source_of("f", ("x",), uses_all)
    assert '"""' not in source
    assert compiled(source, "f")(20.5) == uses_all(20.5) == 131.0


def test_a_lambda_and_another_on_demand_function_are_gathered():
    half = OnDemand("half", lambda value: value / 2, inputs=("request.x",))
    twice = OnDemand("twice", lambda value: half(value) * 4, inputs=("request.x",))
    source = source_of("f", ("x",), twice.compute)
    assert compiled(source, "f")(3.0) == 6.0
    assert "headrace_lambda_1 = " in source  # no line of the file is in it: the same text wherever it is defined


def test_an_argument_named_like_a_helper_is_still_the_argument():
    run = compiled(source_of("ratio", ("ratio", "np"), ratio), "ratio")
    assert run(6.0, 2.0) == 3.0
    run = compiled(source_of("hour", ("datetime",), hour_sin), "hour")
    assert run(NOW) == run("2026-01-01T00:00:00Z") == run(datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_input_taken_twice_is_an_argument_twice():
    twice = OnDemand("squared", lambda a, b: a * b, inputs=("request.amount", "request.amount"))
    function = Function.of(CARD, twice)
    assert function.inputs == ("amount", "amount")
    assert function.udf()._get_udf(online=True, engine_type="python")(3.0, 3.0) == 9.0


TABLE = np.arange(3.0)


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(NotDeclarable, match="'f' uses 'TABLE', a ndarray: Hopsworks needs functions, numbers"):
        source_of("f", ("x",), lambda x: TABLE[0] + x)
    with pytest.raises(NotDeclarable, match="'f' is a partial, Hopsworks needs a function of Python's own"):
        source_of("f", ("x",), functools.partial(helper, most=1.0))
    with pytest.raises(NotDeclarable, match="'now' has no input, Hopsworks needs one or more"):
        Function.of(CARD, OnDemand("now", lambda: 1.0, inputs=()))


def adding() -> Any:
    """Return one helper."""

    def step(value: float) -> float:
        return value + 1

    return step


def doubling() -> Any:
    """Return another one of the same name."""

    def step(value: float) -> float:
        return value * 2

    return step


def test_two_things_of_one_name_are_refused():
    first, second = adding(), doubling()
    assert compiled(source_of("f", ("x",), lambda x: first(x)), "f")(3.0) == 4.0
    with pytest.raises(NotDeclarable, match="'f' uses two things named 'step', Hopsworks needs a name for each"):
        source_of("f", ("x",), lambda x: first(x) + second(x))

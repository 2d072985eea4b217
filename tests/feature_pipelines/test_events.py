"""Raw values become typed columns, or a reason; a value is read alike however it came and whoever came with it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.events import Events, decode
from headrace.features.columns import NO_TIME, Column
from headrace.features.streams import Stream

NOW = 1_700_000_000_000
STREAM = Stream(
    "payments",
    (
        Column("card", "int64"),
        Column("at", "timestamp"),
        Column("amount", low=0, high=1000),
        Column("score", required=False),
        Column("present", "bool", required=False),
        Column("note", "string", required=False),
        Column("seen", "timestamp", required=False),
    ),
    time="at",
)
PLAIN = {"card": 7, "at": 1_000, "amount": 5.0, "score": 0.5, "present": True, "note": "n", "seen": 2_000}


def one(**given_values: Any) -> Events:
    """Decode one event, some of its values replaced."""
    return decode(STREAM, {name: [value] for name, value in {**PLAIN, **given_values}.items()}, 1, NOW)


def read(name: str, value: Any) -> Any:
    """Return what a value of one column is read as."""
    events = one(**{name: value})
    assert not events.reasons, events.reasons
    return events.columns[name][0]


def reason(**given_values: Any) -> str:
    """Return why an event is refused."""
    events = one(**given_values)
    assert not events.accepted[0]
    assert all(column.size == 0 for column in events.columns.values())
    return events.reasons[0]


def test_every_dtype_has_its_own_array():
    columns = one().columns
    kinds = {name: column.dtype.kind for name, column in columns.items()}
    assert kinds == {"card": "i", "at": "i", "amount": "f", "score": "f", "present": "f", "note": "O", "seen": "i"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 0), (-5, -5), ("7", 7), (" 7 ", 7), ("-7", -7), (7.0, 7), ("7.0", 7), ("7.", 7), (Decimal(7), 7),
        (2**63 - 1, 2**63 - 1), (str(-(2**63)), -(2**63)), (np.int64(7), 7), ("9007199254740993", 2**53 + 1),
    ],
)  # fmt: skip
def test_a_whole_number_is_read(value, wanted):
    assert read("card", value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        7.5,
        "7.5",
        "seven",
        True,
        False,
        2**63,
        "9" * 40,
        "9" * 9_000,
        float("inf"),
        Decimal("7.5"),
        [7],
        {},
        b"7",
        "7e3",
    ],
    ids=repr,
)
def test_what_is_no_whole_number_is_refused(value):
    assert reason(card=value) == "card is not a whole number"


@pytest.mark.parametrize(("value", "wanted"), [(5, 5), ("5.5", 5.5), (" 5e1 ", 50), (0, 0), (1000.0, 1000)])
def test_a_number_is_read(value, wanted):
    assert read("amount", value) == wanted


@pytest.mark.parametrize(
    "value",
    [-0.01, 1000.1, "much", float("inf"), "-inf", True, [5.0], "NAN", 10**400, "5,0"],
    ids=lambda v: repr(v)[:9],
)
def test_a_number_outside_its_range_is_refused(value):
    assert reason(amount=value) == "amount is not a number from 0 to 1000"


@pytest.mark.parametrize("value", ["inf", "much", False, float("-inf"), [1]])
def test_a_number_without_a_range_must_be_finite(value):
    assert reason(score=value) == "score is not a finite number"


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", 1, "1", 1.0, "1.0", " true "])
def test_true_is_read(value):
    assert read("present", value) == 1


@pytest.mark.parametrize("value", [False, "false", "False", "FALSE", 0, "0", 0.0, "0.0"])
def test_false_is_read(value):
    assert read("present", value) == 0


@pytest.mark.parametrize("value", [2, 0.5, "maybe", -1, "tRUE", []])
def test_what_is_neither_is_refused(value):
    assert reason(present=value) == "present is not true or false"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1_500, 1_500), ("1500", 1_500), ("1970-01-01T00:00:01.5Z", 1_500), ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01 01:00:01+01:00", 1_000), ("1970-01-02", 86_400_000), (-1, -1),
    ],
)  # fmt: skip
def test_an_instant_is_read_with_a_zone_without_one_or_in_milliseconds(value, wanted):
    assert read("at", value) == wanted


@pytest.mark.parametrize("value", ["yesterday", "1970-13-01", True, 10**18, []])
def test_what_is_no_instant_is_refused(value):
    assert reason(at=value) == "at is not ISO 8601 or epoch milliseconds"


NULLS = [None, "", " ", "null", "NULL", "None", "nan", "NaN", "NA", float("nan")]


@pytest.mark.parametrize("null", NULLS, ids=repr)
def test_a_null_is_missing_where_it_may_be(null):
    assert np.isnan(read("score", null))
    assert np.isnan(read("present", null))
    assert read("seen", null) == NO_TIME


@pytest.mark.parametrize("null", NULLS, ids=repr)
@pytest.mark.parametrize("name", ["card", "at", "amount"])
def test_a_required_value_that_is_null_is_refused(name, null):
    assert reason(**{name: null}) == f"{name} is missing, an event of payments needs it"


def test_a_time_is_needed_even_where_it_is_declared_as_optional():
    lax = Stream("s", (Column("at", "timestamp", required=False), Column("x", required=False)), time="at")
    assert decode(lax, {"x": [1.0]}, 1, NOW).reasons == {0: "at is missing, an event of s needs it"}


def test_text_is_what_was_written():
    assert read("note", "ö, \n") == "ö, \n"
    assert read("note", 5) == "5"
    assert read("note", None) is None


def test_a_column_that_the_events_do_not_have_is_null_in_all_of_them():
    raw = {"card": [1, 2], "at": [1, 2], "amount": [1, 2]}
    events = decode(STREAM, raw, 2, NOW)
    assert events.accepted.all()
    assert np.isnan(events.columns["score"]).all()
    assert events.columns["seen"].tolist() == [NO_TIME, NO_TIME]
    assert events.columns["note"].tolist() == [None, None]
    lacking = decode(STREAM, {name: raw[name] for name in ("card", "at")}, 2, NOW)
    assert set(lacking.reasons.values()) == {"amount is missing, an event of payments needs it"}


def test_the_future_is_believed_up_to_the_tolerance():
    assert read("at", NOW + STREAM.tolerance_ms) == NOW + STREAM.tolerance_ms
    late = reason(at=NOW + STREAM.tolerance_ms + 1)
    assert late == "at is too far in the future, more than 60 s after the clock"


def test_an_event_has_one_reason_and_spoils_no_other():
    raw: dict[str, Any] = {"card": [1, "x", 3, None], "at": [1, None, "?", 4], "amount": [1, -1, 2, 3]}
    events = decode(STREAM, raw, 4, NOW)
    assert events.accepted.tolist() == [True, False, False, False]
    assert events.reasons == {
        1: "card is not a whole number",
        2: "at is not ISO 8601 or epoch milliseconds",
        3: "card is missing, an event of payments needs it",
    }
    assert events.columns["card"].tolist() == [1]


@pytest.mark.parametrize(
    ("name", "array", "refused"),
    [
        ("card", np.array([1, -1], dtype=np.int32), []),
        ("card", np.array([1, 2**64 - 1], dtype=np.uint64), [1]),
        ("card", np.array([True, False]), [0, 1]),
        ("card", np.array([1.0, 1.5, np.nan, np.inf, 2.0**60]), [1, 2, 3, 4]),
        ("card", np.array([1, None, 2**62 + 1], dtype=object), [1]),
        ("amount", np.array([5, -5, 1001], dtype=np.int64), [1, 2]),
        ("amount", np.array([5, 255], dtype=np.uint8), []),
        ("amount", np.array([5.0, -5.0, np.nan, np.inf], dtype=np.float32), [1, 2, 3]),
        ("amount", np.array([True, False]), [0, 1]),
        ("amount", np.array([Decimal(5), Decimal("-1")], dtype=object), [1]),
        ("present", np.array([True, False]), []),
        ("present", np.array([0, 1, 7, -1], dtype=np.int8), [2, 3]),
        ("present", np.array([0.0, 1.0, 0.5, np.nan]), [2]),
        ("at", np.array([1, 2**62], dtype=np.int64), [1]),
        ("at", np.array(["1970-01-01", "NaT"], dtype="datetime64[us]"), [1]),
    ],
)
def test_arrays_are_read_as_their_elements_are(name, array, refused):
    raw: dict[str, Any] = {key: [value] * array.size for key, value in PLAIN.items()}
    together = decode(STREAM, {**raw, name: array}, array.size, NOW)
    assert sorted(together.reasons) == refused
    apart = [one(**{name: value}) for value in array.tolist()] if array.dtype.kind != "M" else []
    for at, event in enumerate(apart):
        assert event.reasons.get(0) == together.reasons.get(at)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=4), st.sampled_from(NULLS),
    st.integers(-3, 1001).map(str), st.floats(-2, 1001).map(str), st.just([]), st.just({"a": 1}),
)  # fmt: skip
events_of = st.fixed_dictionaries(dict.fromkeys(PLAIN, values))


@given(st.lists(events_of, min_size=1, max_size=6))
def test_an_event_is_read_as_if_it_had_come_alone(batch):
    raw = {name: [event[name] for event in batch] for name in PLAIN}
    together = decode(STREAM, raw, len(batch), NOW)
    apart = [decode(STREAM, {name: [value] for name, value in event.items()}, 1, NOW) for event in batch]
    assert together.reasons == {at: event.reasons[0] for at, event in enumerate(apart) if event.reasons}
    for name, column in together.columns.items():
        np.testing.assert_array_equal(column, np.concatenate([event.columns[name] for event in apart]))

"""An event is read as if it had come alone, whether or not its columns' types are declared."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.events import decode
from feature_pipelines.json_events import JsonReader
from headrace.features.columns import Column
from headrace.features.streams import Stream

STREAM = Stream(
    "s",
    (
        Column("at", "timestamp"),
        Column("card", "int64"),
        Column("amount", low=0),
        Column("flag", "bool", required=False),
        Column("the note", "string", required=False),
    ),
    time="at",
)
DTYPES = {column.name: column.dtype for column in STREAM.columns}
NOW = 10**12

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "12", " 7 ", "12.5", "true", "null", "2026-01-01T00:00:00Z", "x"]),
    st.lists(st.integers(), max_size=1),
)
objects = st.dictionaries(st.sampled_from([*STREAM.names, "else"]), values)
damaged = st.sampled_from([b"", b"{", b"[]", b"5", b'"x"', b"\xff", b'{"amount": NaN}', b'{"card": 1} {}', b"null"])
events = st.lists(st.one_of(objects.map(json.dumps).map(str.encode), damaged), max_size=6)


@given(events)
def test_declared_types_change_what_reading_costs_and_nothing_else(given_events):
    typed, untyped = JsonReader(STREAM.names, DTYPES), JsonReader(STREAM.names)
    (raw, unreadable), (plain, also) = typed.read(given_events), untyped.read(given_events)
    assert unreadable == also
    ours, theirs = (decode(STREAM, read, len(given_events), NOW) for read in (raw, plain))
    assert ours.reasons == theirs.reasons
    for name, column in theirs.columns.items():
        np.testing.assert_array_equal(ours.columns[name], column)


@given(events, st.integers(0, 5))
def test_what_becomes_of_an_event_does_not_depend_on_its_neighbours(given_events, at):
    reader = JsonReader(STREAM.names, DTYPES)
    together, unreadable = reader.read(given_events)
    for number, event in enumerate(given_events):
        alone, reason = reader.read([event])
        assert [together[name][number] for name in STREAM.names] == [alone[name][0] for name in STREAM.names]
        assert unreadable.get(number) == reason.get(0)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (None, "the event is empty"),
        (b"", "the event is empty"),
        (b"{", "the event is not JSON"),
        (b"[1]", "the event is a JSON list, needs an object"),
        (b"null", "the event is a JSON null, needs an object"),
    ],
)
def test_an_event_that_is_no_object_is_named(event, reason):
    columns, unreadable = JsonReader(("card",), {"card": "int64"}).read([b'{"card": 1}', event])
    assert columns == {"card": [1, None]}
    assert unreadable == {1: reason}


@pytest.mark.parametrize("depth", [10, 900, 1_020, 1_100, 100_000])
@pytest.mark.parametrize("name", [*STREAM.names, "else"])
def test_an_event_nested_however_deeply_is_one_event_refused(name, depth):
    good = b'{"at": 5, "card": 1, "amount": 2.5}'
    nested = b'{"at": 5, "card": 1, "amount": 2.5, "%s": %s}' % (name.encode(), b"[" * depth + b"]" * depth)
    raw, unreadable = JsonReader(STREAM.names, DTYPES).read([good, nested, good])
    read = decode(STREAM, raw, 3, NOW)
    assert unreadable.keys() | read.reasons.keys() == ({1} if name != "else" or depth > 1_024 else set())


def test_many_events_are_read_in_order():
    raw, unreadable = JsonReader(("card",), {"card": "int64"}).read([b'{"card": %d}' % at for at in range(2_000)])
    assert raw["card"].tolist() == list(range(2_000))
    assert not unreadable


@pytest.mark.parametrize("odd", [b"null", b'"7"', b"7.0", b"9.1e15", b"%d" % 2**64, b"true"])
def test_what_is_unlike_its_many_neighbours_is_read_as_if_alone(odd):
    reader, odd = JsonReader(STREAM.names, DTYPES), b'{"at": 5, "card": %s, "amount": %s}' % (odd, odd)
    plain = [b'{"at": %d, "card": %d, "amount": 1.5, "flag": true}' % (at, at) for at in range(1_200)]
    among = decode(STREAM, reader.read([*plain[:700], odd, *plain[700:]])[0], 1_201, NOW)
    alone = decode(STREAM, reader.read([odd])[0], 1, NOW)
    assert {reason for at, reason in among.reasons.items() if at == 700} == set(alone.reasons.values())
    wanted = decode(STREAM, JsonReader(STREAM.names).read([*plain[:700], odd, *plain[700:]])[0], 1_201, NOW)
    assert among.reasons == wanted.reasons
    for name, column in wanted.columns.items():
        np.testing.assert_array_equal(among.columns[name], column)

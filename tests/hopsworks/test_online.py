"""The online rows: a table does as a dict does, and tells of each row what a fresh look would tell."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hopsworks.online import NotARowError, OnlineStore, Table

COLUMNS = {"k": "bigint", "t": "timestamp", "x": "double", "tiles": "binary", "s": "string"}
TOLD = ("t", "x", "tiles", "s", "elsewhere")
ROWS = st.fixed_dictionaries(
    {
        "k": st.integers(0, 3),
        "t": st.integers(-(2**40), 2**40),
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "tiles": st.none() | st.binary(max_size=5),
        "s": st.none() | st.text(max_size=5),
    }
)
STEPS = st.lists(st.tuples(st.sampled_from(("upsert", "newer", "delete", "look")), ROWS), max_size=30)


@given(STEPS)
def test_a_table_does_as_a_dict_and_tells_what_is_there(steps):
    table = Table(COLUMNS, ("k",), "t")
    model: dict[tuple[int], dict] = {}
    for step, row in steps:
        key = (row["k"],)
        if step == "look":
            table.encoded(1, key, TOLD)
        elif step == "delete":
            table.delete(key)
            model.pop(key, None)
        else:
            table.upsert(row, if_newer=step == "newer")
            if step == "upsert" or key not in model or model[key]["t"] < row["t"]:
                model[key] = row
    assert table.rows == model
    for key in ((at,) for at in range(4)):
        told = table.encoded(1, key, TOLD)
        assert (told is None) == (key not in model)
        if told is not None:
            _, x, tiles, s, elsewhere = json.loads(b"[" + told + b"]")
            assert (x, s, elsewhere) == (model[key]["x"], model[key]["s"], None)
            assert (None if tiles is None else base64.b64decode(tiles)) == model[key]["tiles"]


@given(STEPS)
def test_the_changes_told_make_the_same_rows_elsewhere(steps):
    store, mirror = OnlineStore(), {}
    store.declare(7, COLUMNS, ("k",), "t")
    table = store.tables[7]
    for step, row in steps:
        if step == "look":
            for group, changed in store.changes():
                assert group == 7
                mirror.update(changed)
        elif step == "delete":
            table.delete((row["k"],))
        else:
            table.upsert(row)
    for _, changed in store.changes():
        mirror.update(changed)
    assert {key: row for key, row in mirror.items() if row is not None} == table.rows
    assert list(store.changes()) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"k": None}, "key k is null"),
        ({"k": 2**63}, "k is bigint"),
        ({"k": True}, "k is bigint, was bool"),
        ({"k": 1, "x": float("inf")}, "x is double, was a float that is not finite"),
        ({"k": 1, "s": b"a"}, "s is string, was bytes"),
        ({"k": 1, "tiles": "a"}, "tiles is binary, was str"),
        ({"k": 1, "t": "2026-01-01"}, "t is timestamp, was str"),
        ({"k": 1, "more": 1}, "columns more are not of this table"),
    ],
)
def test_a_row_of_another_shape_is_refused(row, said):
    table = Table(COLUMNS, ("k",), "t")
    with pytest.raises(NotARowError, match=said):
        table.upsert(row)
    assert table.rows == {}


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("timestamp", 0, "1970-01-01 00:00:00"),
        ("timestamp", 1_700_000_000_123, "2023-11-14 22:13:20.123000"),
        ("timestamp", -1, "1969-12-31 23:59:59.999000"),
        ("date", 19_675, "2023-11-14"),
        ("boolean", True, 1),
        ("binary", b"\x00\xff", "AP8="),
        ("string", 'a"\u00e9', 'a"\u00e9'),
        ("double", 0.1, 0.1),
        ("bigint", 2**62, 2**62),
    ],
)
def test_a_value_is_told_as_ronds_rest_server_does(kind, value, told):
    table = Table({"k": "bigint", "v": kind}, ("k",))
    table.upsert({"k": 1, "v": value})
    assert json.loads(b"[" + (table.encoded(1, (1,), ("v",)) or b"") + b"]") == [told]

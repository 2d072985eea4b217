"""Runs become rows: whose they are, what was seen and answered, and nothing of a key that is not to be there."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from headrace.predictions import Answered, KeysError, Pseudonyms
from headrace.predictions.records import described, records_of, stands_for_missing
from tests.predictions.runs import columns, run
from tests.transformer.small import VIEW

SECRET = b"sixteen bytes of it"


def test_each_row_says_what_was_seen_and_answered():
    rows = list(records_of(columns().table([run("a", "b", rows=2), run("c")])))
    assert [(row["request_id"], row["row"]) for row in rows] == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0)]
    first, last = rows[0], rows[3]
    assert first["at"] == first["as_of"] == "2023-11-14T22:13:20.000Z"
    assert (first["model"], first["fingerprint"]) == ("small", VIEW.fingerprint)
    assert list(first["features"]) == list(VIEW.names)
    assert list(first["features"].values()) == [0, 1, 2, 3, 4, 5]
    assert (first["age_ms"], last["age_ms"]) == ({"users": 60_000.0}, {"users": None})
    assert (first["row_status"], last["row_status"]) == ("ok", "users missing")
    assert last["outputs"] == {"score": 1.0}
    assert first["stage_ms"] == pytest.approx(
        {"decode": 0.1, "store": 0.2, "assemble": 0.3, "predict": 1.0, "respond": 0.05}
    )


@given(lists(lists(integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4), integers(0, 3))
def test_rows_that_a_run_did_not_answer_are_left_out(sizes, dropped):
    runs, wanted = [], []
    for at, of in enumerate(sizes):
        edges = np.cumsum([0, *of])
        parts = [Answered(f"{at}-{n}", "", "", "", slice(*edges[n : n + 2])) for n in range(len(of))]
        kept = [part for n, part in enumerate(parts) if n != dropped] or parts
        count = int(edges[-1])
        runs.append(run(f"{at}", rows=count, answered=kept))
        wanted += [(part.id, float(row * len(VIEW.names))) for part in kept for row in range(count)[part.rows]]
    table = columns().table(runs)
    amounts = [row["amount"] for row in table["features"].to_pylist()]
    assert list(zip(table["request_id"].to_pylist(), amounts, strict=True)) == wanted


def test_a_request_without_an_id_is_known_by_its_call_and_else_by_one_of_the_logs_own():
    parts = [Answered("", "call-7", "t" * 32, "3", slice(0, 1)), Answered("", "", "", "", slice(1, 2))]
    called, nameless = records_of(columns().table([run("", rows=2, answered=parts)]))
    assert (called["request_id"], called["call_id"], called["trace_id"]) == ("call-7", "call-7", "t" * 32)
    assert called["model_version"] == "3"
    assert len(nameless["request_id"]) == 16
    assert nameless["call_id"] is None


def test_a_refusal_within_a_run_leaves_timings_null():
    (row,) = records_of(columns().table([run("a", stage_ms=(0.5,))]))
    assert row["stage_ms"] == {"decode": 0.5, "store": None, "assemble": None, "predict": None, "respond": None}


def test_keys_are_left_out_unless_asked_for_and_then_as_pseudonyms():
    def keys(how: Pseudonyms | None) -> list[str | None]:
        return [row["user"] for row in columns(how).table([run("a", rows=2)])["keys"].to_pylist()]

    assert keys(None) == [None, None]
    assert keys(Pseudonyms("plain")) == ["user-0", "user-1"]
    hashed = Pseudonyms("hashed", SECRET)
    assert keys(hashed) == [hashed.one("user-0"), hashed.one("user-1")]
    assert len({*keys(hashed), *keys(Pseudonyms("hashed", SECRET[::-1]))}) == 4
    assert SECRET.decode() not in repr(hashed)


def test_a_secret_is_read_from_a_file_or_the_environment_and_must_be_one(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    said = Pseudonyms.read("hashed", str(tmp_path / "secret"), {})
    assert said == Pseudonyms.read("hashed", "", {"HEADRACE_PREDICTION_KEY": SECRET.decode()})
    assert Pseudonyms.read("none", "", {}).secret == b""
    with pytest.raises(KeysError, match=r"the secret of hashed keys has 0 bytes, needs 16 to 64: set HEADRACE_PRED"):
        Pseudonyms.read("hashed", "", {})
    with pytest.raises(KeysError, match="the secret of hashed keys cannot be read: No such file"):
        Pseudonyms.read("hashed", str(tmp_path / "none"), {})
    with pytest.raises(KeysError, match="keys in the prediction log are 'salted', needs one of none, hashed, plain"):
        Pseudonyms("salted")


def test_the_schema_describes_the_features():
    known = described(columns().schema)
    assert known["amount_count_1h"].group == "users"
    assert (known["amount"].group, known["amount"].missing) == ("", -1.0)
    assert known["amount_share"].source == "on_demand:amount_share"
    assert described(pa.schema([("a", pa.int64())])) == {}
    assert described(pa.schema([("a", pa.int64())], {b"headrace.view": b"{"})) == {}


def test_a_feature_is_missing_where_its_group_had_nothing_or_it_has_the_declared_value():
    known, nobody, somebody = described(columns().schema), {"users": None}, {"users": 5.0}
    assert stands_for_missing(0.0, known["amount_count_1h"], nobody)
    assert not stands_for_missing(0.0, known["amount_count_1h"], somebody)
    assert stands_for_missing(-1.0, known["amount"], nobody)
    assert not stands_for_missing(12.0, known["amount"], nobody)
    assert stands_for_missing(None, known["amount"], somebody)


def test_no_rows_are_no_records():
    table = columns().table([run("a")])
    assert list(records_of(table.slice(0, 0))) == []
    assert list(records_of(pa.table({"a": [1.5, None]}))) == [{"a": 1.5}, {"a": None}]


def test_outputs_are_asked_for_when_columns_are_made():
    asked = []

    def outputs() -> dict[str, np.ndarray]:
        asked.append(1)
        return {"score": np.array([0.25])}

    handed = run("a", outputs=outputs, status=partial(np.array, [b"ok"], dtype=object))
    assert not asked
    assert columns().table([handed])["outputs"].to_pylist() == [{"score": 0.25}]

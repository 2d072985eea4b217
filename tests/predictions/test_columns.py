"""Runs become rows: whose they are, what was seen and answered, and nothing of a key that is not to be there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from headrace.predictions import Answered, Columns, KeysError, Pseudonyms, Run
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
        own = [slice(*edges[n : n + 2]) for n in range(len(of))]
        parts = [Answered(f"{at}-{n}", "", "", "", part, [np.zeros(of[n])]) for n, part in enumerate(own)]
        kept = [part for n, part in enumerate(parts) if n != dropped] or parts
        count = int(edges[-1])
        runs.append(run(f"{at}", rows=count, answered=kept))
        wanted += [(part.id, float(row * len(VIEW.names))) for part in kept for row in range(count)[part.rows]]
    table = columns().table(runs)
    amounts = [row["amount"] for row in table["features"].to_pylist()]
    assert list(zip(table["request_id"].to_pylist(), amounts, strict=True)) == wanted


def test_a_request_without_an_id_is_known_by_its_call_and_else_by_one_of_the_logs_own():
    score = [np.zeros(1)]
    parts = [Answered("", "call-7", "t" * 32, "3", slice(0, 1), score), Answered("", "", "", "", slice(1, 2), score)]
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


def test_a_row_without_a_key_has_none_in_the_log():
    one = run("a", rows=3)
    one.rows.unkeyed["user"] = np.array([False, True, False])
    for how in (Pseudonyms("plain"), Pseudonyms("hashed", SECRET)):
        keys = [row["user"] for row in columns(how).table([run("b"), one])["keys"].to_pylist()]
        assert [key is None for key in keys] == [False, False, True, False]


def test_a_secret_is_read_from_a_file_or_the_environment_and_must_be_one(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    said = Pseudonyms.read("hashed", str(tmp_path / "secret"), {})
    assert said == Pseudonyms.read("hashed", "", {"HEADRACE_PREDICTION_KEY": SECRET.decode()})
    assert said == Pseudonyms.read("hashed", "", {"HEADRACE_PREDICTION_KEY": SECRET.decode() + "\n"})
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


@pytest.mark.parametrize(
    ("datatype", "given", "kept"),
    [
        ("INT64", np.array([2**53 + 1, -(2**63)]), [2**53 + 1, -(2**63)]),
        ("UINT64", np.array([2**64 - 1, 0], dtype=np.uint64), [2**64 - 1, 0]),
        ("INT8", np.array([-7, 7], dtype=np.int8), [-7, 7]),
        ("BOOL", np.array([True, False]), [True, False]),
        ("FP32", np.array([0.5, np.nan], dtype=np.float32), [0.5, None]),
        ("FP64", np.array([1, 2]), [1.0, 2.0]),  # whole numbers may stand for others
        ("BYTES", np.array([b"fine", "too"], dtype=object), ["fine", "too"]),
    ],
)
def test_an_output_is_kept_to_the_last_digit(datatype, given, kept):
    table = Columns("small", VIEW, {"score": datatype}).table([answered(given)])
    assert [row["outputs"]["score"] for row in records_of(table)] == kept


def test_what_is_kept_is_the_answer_of_each_request():
    one = run("a", "b", "c", rows=2)
    parts = [part._replace(outputs=[np.full(2, float(at))]) for at, part in enumerate(one.answered)]
    handed = one._replace(answered=[parts[2], parts[0]])
    assert handed.written == 4
    assert [row["score"] for row in columns().table([handed])["outputs"].to_pylist()] == [2.0, 2.0, 0.0, 0.0]


def answered(given: np.ndarray) -> Run:
    """Return a run of one request that was answered with this."""
    one = run("a", rows=len(given))
    return one._replace(answered=[one.answered[0]._replace(outputs=[given])])

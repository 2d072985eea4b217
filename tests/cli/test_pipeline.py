"""`headrace pipeline run` and `headrace backfill`: what they say, and with which exit code they refuse."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from applications.fraud.features import CARD_ACTIVITY, FRAUD_VIEW
from headrace.stores.embedded import EmbeddedStore
from tests.stores.small import declared


def test_events_are_streamed_once_and_a_second_run_says_so(headrace, payments, tmp_path):
    run = ("pipeline", "run", "fraud", "--source", payments, "--store", tmp_path / "s", "--batch", 30, "--fast")
    first, second = headrace(*run).output, headrace(*run).output
    assert "payments.parquet has no category: null in every event" in first
    assert "done   payments into card_activity: 200 events" in first
    assert "; 0 were there; 0 repeated; 0 dead" in first
    assert "0 events, 0/s; 200 were there; 0 repeated; 0 dead" in second
    store = EmbeddedStore(tmp_path / "s", readonly=True)
    assert store.size(CARD_ACTIVITY) == 5
    store.close()


def test_dead_letters_are_counted_by_reason_and_pointed_to(headrace, payments, tmp_path):
    table = pq.read_table(payments).slice(0, 20)
    pa_csv.write_csv(table, tmp_path / "e.csv")
    with (tmp_path / "e.csv").open("a") as file:
        file.write("x,,1,2026-01-01,5,,,,0\n" * 3 + "y,1,1,2026-01-01,-5,,,,0\n")
    output = headrace(
        "pipeline", "run", "fraud", "--source", "e.csv", "--store", "s", "--order", "file", "--fast"
    ).output
    assert "24 events" in output
    assert "4 dead" in output
    three, one = (
        output.index("3 dead letters: cc_num is missing"),
        output.index("1 dead letters: amount is not a number"),
    )
    assert three < one
    assert "see s/dead_letters/payments.jsonl" in output
    assert (tmp_path / "s" / "dead_letters" / "payments.jsonl").read_bytes().count(b"\n") == 4
    named = ("--store", "t", "--dead-letters", "kept.jsonl", "--fast")
    assert "see kept.jsonl" in headrace("pipeline", "run", "fraud", "--source", "e.csv", *named).output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("fraud", "--source", "no.csv", "--store", "s"), 1, "there is no file 'no.csv', needs a Parquet, CSV or JSON"),
        (("fraud", "--source", "e.txt", "--store", "s"), 1, "'e.txt' ends in '.txt', needs one of .parquet, .csv"),
        (("fraud", "--source", "e.csv", "--store", "s"), 1, "'e.csv' is empty, needs events"),
        (("fraud", "--source", "in/no.csv", "--store", "s"), 1, "there is no file 'in/no.csv', needs a Parquet, CSV"),
        (("fraud", "--source", "in/e.csv", "--store", "s"), 1, "'in/e.csv' is empty, needs events"),
        (("fraud", "--source", "in", "--store", "s"), 1, "'in' is a folder, needs one file of events, ending in .par"),
        (("fraud", "--source", "e.csv", "--store", "s", "--topic", "payment"), 1, "no topic 'payment', needs one of"),
        (("fraud", "--source", "e.csv", "--store", "s", "--topic", "payment"), 1, "did you mean 'payments'?"),
        (("fraud", "--source", "e.csv", "--store", "e.csv"), 2, "'e.csv' is a file"),
        (("fraud", "--source", "e.csv", "--store", "s", "--batch", "0"), 2, "0 is not in the range"),
        (("fraud", "--source", "e.csv", "--store", "s", "--order", "any"), 2, "'any' is not one of 'time', 'file'"),
        (("fraud", "--store", "s"), 2, "Missing option '--source'"),
        (("froud", "--source", "e.csv", "--store", "s"), 2, "there is no application 'froud': looked for"),
        (("clicks:APP", "--source", "e.csv", "--store", "s"), 2, "no module 'clicks' is on the import path"),
        (("json:dumps", "--source", "e.csv", "--store", "s"), 2, "'json:dumps' is a function, needs an Application"),
    ],
)
def test_what_cannot_be_run_says_what_was_needed(headrace, tmp_path, arguments, code, message):
    (tmp_path / "in").mkdir()
    for name in ("e.txt", "e.csv", "in/e.csv"):
        (tmp_path / name).touch()
    output = headrace("pipeline", "run", *arguments, code=code).output
    assert message in " ".join(output.replace("│", " ").split())
    assert "Traceback" not in output
    assert not (tmp_path / "s").exists()


def test_a_store_of_another_declaration_is_refused(headrace, payments, tmp_path):
    held = EmbeddedStore(tmp_path / "s", durable=False)
    held.declare([declared("card_activity")])
    held.close()
    run = ("pipeline", "run", "fraud", "--source", payments, "--store", tmp_path / "s", "--fast")
    for _ in range(2):
        output = headrace(*run, code=1).output
        assert "failed payments into card_activity" in output
        assert f"Error: the store at '{tmp_path}/s' holds group 'card_activity' under another declaration" in output


def test_a_backfill_says_what_it_made_and_what_was_missing(headrace, payments, tmp_path):
    rows = pq.read_table(payments, columns=["cc_num", "terminal_id", "datetime", "amount", "fraud_label"]).slice(150)
    pq.write_table(rows, tmp_path / "s.parquet")
    run = ("backfill", "fraud", "--events", payments, "--spine", "s.parquet", "--out")
    output = headrace(*run, "o.parquet").output
    assert f"50 rows with {len(FRAUD_VIEW.names)} features from 200 payments, 200 labels, in o.parquet" in output
    assert "the spine has no latitude, longitude, card_present, category: what is computed from it is missing" in output
    headrace(*run, "f.parquet", "--fill")
    bare, filled = pq.read_table("o.parquet"), pq.read_table("f.parquet")
    assert bare.column("distance_from_last_km").null_count == 50
    assert set(filled.column("distance_from_last_km").to_pylist()) == {-1.0}
    assert bare.select(rows.column_names).equals(rows)


@pytest.mark.parametrize(
    ("spine", "out", "message"),
    [
        ("no.csv", "o.csv", "there is no file 'no.csv', needs a Parquet or CSV file with a row per key and time"),
        ("s.csv", "o.json", "'o.json' ends in '.json', needs .parquet or .csv"),
        (
            "s.csv",
            "o.csv",
            "the spine has columns date_time, cc_num, needs the time 'datetime'; did you mean 'date_time'?",
        ),
        ("k.csv", "o.csv", "the spine has columns datetime, amount, needs a key: cc_num or terminal_id"),
    ],
)
def test_a_spine_that_does_not_fit_says_why(headrace, payments, tmp_path, spine, out, message):
    pa_csv.write_csv(pa.table({"date_time": ["2026-01-01"], "cc_num": [1]}), tmp_path / "s.csv")
    pa_csv.write_csv(pa.table({"datetime": ["2026-01-01"], "amount": [1]}), tmp_path / "k.csv")
    output = headrace("backfill", "fraud", "--events", payments, "--spine", spine, "--out", out, code=1).output
    assert f"Error: {message}" in output
    assert not (tmp_path / out).exists()

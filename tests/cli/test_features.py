"""`headrace features get` prints what a model would read: the very values of a training frame."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from applications.fraud.features import CARD_ACTIVITY, FRAUD_VIEW, TERMINAL_RISK
from headrace.features.instants import iso
from tests.cli.conftest import DAY, START

AS_OF = START + 41 * DAY
ROW = {"cc_num": 2, "terminal_id": 1, "amount": 12.5, "latitude": 59.3, "longitude": 18.1, "card_present": 1}


def vector(output: str) -> dict[str, str]:
    """Return the printed values by name."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    return {row[0]: row[1] for row in rows}


def asked(row: dict) -> list[str]:
    """Return a row as the command's options."""
    keys = ("cc_num", "terminal_id")
    return [part for name, value in row.items() for part in ("--key" if name in keys else "--set", f"{name}={value}")]


def test_the_values_are_those_of_the_training_frame(headrace, payments, store, tmp_path):
    pq.write_table(
        pa.table({**{name: [value] for name, value in ROW.items()}, "datetime": [AS_OF]}), tmp_path / "r.parquet"
    )
    headrace(
        "backfill", "fraud", "--events", payments, "--spine", tmp_path / "r.parquet", "--out", tmp_path / "o.parquet"
    )
    wanted = pq.read_table(tmp_path / "o.parquet").to_pylist()[0]
    for as_of in (AS_OF, iso(AS_OF)):
        output = headrace("features", "get", "fraud", "--store", store, *asked(ROW), "--as-of", as_of).output
        got = vector(output)
        assert set(got) == set(FRAUD_VIEW.names)
        for feature in FRAUD_VIEW.features:
            value = np.nan if wanted[feature.name] is None else float(wanted[feature.name])
            said = f"missing ({feature.missing:g})" if np.isnan(value) else f"{np.float32(value):.6g}"
            assert got[feature.name] == said, feature.name
        assert f"fraud at {iso(AS_OF)}, fingerprint {FRAUD_VIEW.fingerprint[:16]}" in output
        assert "approximate" not in output


def test_nothing_is_cut_off_at_eighty_columns(headrace, store):
    output = headrace("features", "get", "fraud", "--store", store, *asked(ROW), "--as-of", AS_OF).output
    assert "…" not in output


def test_a_key_never_seen_is_said_and_its_windows_are_empty(headrace, store):
    row = {**ROW, "cc_num": 99}
    output = headrace("features", "get", "fraud", "--store", store, *asked(row), "--as-of", AS_OF).output
    got = vector(output)
    assert got["amount_count_30d"] == "0"
    assert got["amount_mean_30d"] == got["seconds_since_last"] == "missing (-1)"
    assert len(re.findall("never seen", output)) == len(
        [name for name in CARD_ACTIVITY.column_names if "last" not in name]
    )


def test_a_negative_key_and_a_key_of_zero_are_keys(headrace, store):
    for card in (-1, 0):
        output = headrace(
            "features", "get", "fraud", "--store", store, "--key", f"cc_num={card}", "--as-of", AS_OF
        ).output
        assert vector(output)["amount_count_30d"] != "0"
        assert "never seen" not in output


def test_one_group_is_asked_for_where_only_its_key_is_given(headrace, store):
    output = headrace("features", "get", "fraud", "--store", store, "--key", "terminal_id=1", "--as-of", AS_OF).output
    got = vector(output)
    for name in TERMINAL_RISK.column_names:
        assert not got[name].startswith("missing")
    assert all(got[name].startswith("missing") for name in CARD_ACTIVITY.column_names if "last" not in name)


def test_a_read_of_the_past_is_said_to_be_approximate(headrace, store):
    output = headrace("features", "get", "fraud", "--store", store, "--key", "cc_num=2", "--as-of", START).output
    assert f"card_activity is approximate: {iso(START)} is not after its newest event" in output


def test_it_reads_at_the_clock_unless_told_otherwise(headrace, store):
    got = vector(headrace("features", "get", "fraud", "--store", store, "--key", "cc_num=2").output)
    assert got["seconds_since_last"] != "missing (-1)"


@pytest.mark.parametrize(("said", "wanted"), [("true", "1"), ("false", "0"), ("1", "1"), ("0", "0")])
def test_a_truth_value_may_be_written_as_one(headrace, store, said, wanted):
    output = headrace(
        "features", "get", "fraud", "--store", store, "--key", "cc_num=2", "--set", f"card_present={said}"
    ).output
    assert vector(output)["card_present"] == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no key was given, needs --key of cc_num or terminal_id"),
        (("--set", "amount=5"), "no key was given, needs --key of cc_num or terminal_id"),
        (
            ("--key", "cc_num"),
            "'cc_num' is not a column of a request, needs NAME=VALUE with cc_num, terminal_id, datetime",
        ),
        (("--key", "card=5"), "'card=5' is not a column of a request, needs NAME=VALUE with cc_num"),
        (("--key", "cc_num=five"), "cc_num is 'five', needs int64"),
        (("--key", "cc_num=5.5"), "cc_num is '5.5', needs int64"),
        (("--key", f"cc_num={2**63}"), f"cc_num is '{2**63}', needs int64"),
        (("--key", "cc_num=1", "--set", "amount=much"), "amount is 'much', needs float64"),
        (("--key", "cc_num=1", "--set", "card_present=maybe"), "card_present is 'maybe', needs bool"),
        (("--key", "cc_num=1", "--as-of", "yesterday"), "--as-of is 'yesterday', needs ISO 8601 or epoch milliseconds"),
    ],
)
def test_what_cannot_be_read_says_what_was_needed(headrace, store, arguments, message):
    output = headrace("features", "get", "fraud", "--store", store, *arguments, code=1).output
    assert output.startswith("Error: ")
    assert message in output


def test_a_store_that_is_not_there_or_not_filled_says_what_to_do(headrace, payments, tmp_path):
    ask = ("features", "get", "fraud", "--store", tmp_path / "s", "--key", "terminal_id=1")
    assert f"there is no store at '{tmp_path}/s': run a pipeline first" in headrace(*ask, code=1).output
    headrace("pipeline", "run", "fraud", "--source", payments, "--store", tmp_path / "s", "--fast")
    said = headrace(*ask, code=1).output
    assert f"the store at '{tmp_path}/s' holds no key of group 'terminal_risk': run its pipeline first" in said
    headrace("features", "get", "fraud", "--store", tmp_path / "s", "--key", "cc_num=1")

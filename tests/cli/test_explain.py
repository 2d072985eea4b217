"""`headrace explain` shows one past prediction, or says what was looked at."""

from __future__ import annotations

import json

import pytest

from headrace.cli.explain import waterfall
from headrace.predictions import Pseudonyms
from headrace.predictions.files import ParquetFiles
from tests.predictions.runs import columns, run
from tests.transformer.small import NOW, VIEW


@pytest.fixture
def log(tmp_path):
    """A log of three requests in two files; its keys are plain."""
    files = ParquetFiles(tmp_path / "log")
    files.write(columns(Pseudonyms("plain")).table([run("one"), run("two", rows=3)]))
    files.write(columns(Pseudonyms("plain")).table([run("late", at_ms=NOW + 1000)]))
    return tmp_path / "log"


def test_a_prediction_is_shown_with_its_features_ages_versions_and_stages(headrace, log):
    lines = headrace("explain", "two", "--log", log, "--row", 1).output.splitlines()
    assert lines[0] == "two, row 1 of 3, answered at 2023-11-14T22:13:20.000Z"
    assert f"  fingerprint  {VIEW.fingerprint}" in lines
    assert "  row status   ok" in lines
    assert "  score        0.5" in lines
    table = {line.split()[0]: line.split()[1:] for line in lines if line.split()[:1] and line.split()[0] in VIEW.names}
    assert list(table) == list(VIEW.names)
    assert table["amount"] == ["6", "request"]
    assert table["amount_sum_1h"] == ["10", "users", "60", "s"]
    assert table["amount_share"] == ["11", "on-demand"]
    assert lines[-1] == "together      1.650 ms"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_a_value_that_stands_for_a_missing_one_is_marked(headrace, log):
    output = headrace("explain", "two", "--log", f"dir:{log}", "--row", 2).output
    assert "  row status   users missing" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["amount_count_1h", "0", "missing", "users"] in lines
    assert ["amount_share", "-1", "missing", "on-demand"] in lines


def test_json_has_every_row(headrace, log):
    said = json.loads(headrace("explain", "two", "--log", log, "--json").output)
    assert [(row["request_id"], row["row"]) for row in said] == [("two", 0), ("two", 1), ("two", 2)]
    assert said[0]["features"]["amount"] == 0


def test_an_unknown_id_says_what_was_looked_at(headrace, log):
    output = " ".join(headrace("explain", "nobody", "--log", log, code=1).output.split())
    assert output == (
        "Error: no prediction of request 'nobody': 5 rows were looked at, answered from 2023-11-14T22:13:20.000Z to "
        "2023-11-14T22:13:21.000Z, in 2 files. The newest may not be written yet, older ones not kept any more"
    )


def test_a_row_or_a_log_that_is_not_there_is_named(headrace, log, tmp_path):
    output = headrace("explain", "one", "--log", log, "--row", 1, code=1).output
    assert "request 'one' has 1 rows, needs --row below that" in output
    output = headrace("explain", "one", "--log", tmp_path / "none", code=1).output
    assert "there is no prediction log at" in output
    output = headrace("explain", "one", code=1).output
    assert "there is no prediction log at .headrace/*/predictions: name one with --log, or run `headrace up`" in output
    output = headrace("explain", "one", "--log", "s3://b/p", code=1).output
    assert "the prediction log is 's3://b/p', needs dir:/path or kafka://host:port/topic" in output


def test_the_logs_of_this_folder_are_looked_at_where_none_is_named(headrace, tmp_path):
    for name in ("a", "b"):
        ParquetFiles(tmp_path / ".headrace" / name / "predictions").write(columns().table([run(f"of-{name}")]))
    assert headrace("explain", "of-a").output.startswith("of-a, answered at ")
    assert headrace("explain", "of-b").output.startswith("of-b, answered at ")
    assert "2 rows were looked at" in " ".join(headrace("explain", "of-c", code=1).output.split())


def test_a_waterfall_of_nothing_is_a_line_and_what_was_not_run_is_left_out():
    assert [line.plain for line in waterfall({"decode": 0.0, "store": None})] == [
        "decode        0.000 ms  #",
        "together      0.000 ms",
    ]


@pytest.mark.parametrize(
    ("name", "shown"), [("[/order-7]",) * 2, ("order[eu]7",) * 2, ("a\x1b]0;b\x07", "a\\x1b]0;b\\x07"), ("é",) * 2]
)
def test_an_id_is_shown_as_it_is_and_moves_no_cursor(headrace, tmp_path, name, shown):
    ParquetFiles(tmp_path / "log").write(columns().table([run(name)]))
    assert headrace("explain", name, "--log", tmp_path / "log").output.startswith(f"{shown}, answered at ")

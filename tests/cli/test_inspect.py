"""`headrace pipeline inspect` shows a key's tiles, which of them each window covers, and the values served."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from applications.fraud.app import APP
from applications.fraud.features import CARD_ACTIVITY
from headrace.cli.inspect import key_of, lasting
from headrace.features import DAY, Window, WindowedGroup
from headrace.features.instants import iso
from headrace.stores.embedded import EmbeddedStore
from tests.cli.conftest import START
from tests.stores.small import declared, read

AS_OF = START + 41 * DAY
CARD = ("pipeline", "inspect", "fraud", "card_activity")


def test_the_values_are_those_a_request_is_answered_with(headrace, store):
    said = json.loads(headrace(*CARD, "--key", 2, "--store", store, "--at", AS_OF, "--json").output)
    kept = EmbeddedStore(store, readonly=True)
    wanted = read(kept, [2], AS_OF, CARD_ACTIVITY)
    kept.close()
    values = [value for window in said["windows"] for value in window["values"].values()]
    got = np.array([*values, *said["last"].values()], dtype=np.float64)
    np.testing.assert_array_equal(got, wanted.values[0])
    assert (said["key"], said["group"], said["as_of_ms"], said["found"]) == (2, "card_activity", AS_OF, True)
    month = said["windows"][-1]
    assert sum(tile["count"] for tile in month["tiles"] if tile["covered"]) == month["values"]["count"]
    assert month["to_ms"] == AS_OF


def test_the_terminal_shows_each_window_with_its_tiles(headrace, store):
    output = headrace(*CARD, "--key", 2, "--store", store, "--at", iso(AS_OF)).output
    assert f"card_activity of cc_num 2 at {iso(AS_OF)}" in output
    assert "before" in output.splitlines()[1]
    for window in CARD_ACTIVITY.windows:
        assert f"\n{window.label}: count " in output
    assert "tiles kept, of 2.5 days each" in output
    marked = [line for line in output.splitlines() if line.startswith("* ")]
    assert marked
    assert max(map(len, output.splitlines())) <= 110
    assert "…" not in output
    assert "last amount: " in output
    assert re.search(r"\nlast datetime: 2026-0\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\n", output)


def test_a_reading_of_the_past_is_said_to_be_approximate(headrace, store):
    output = headrace(*CARD, "--key", 2, "--store", store, "--at", START).output
    assert "approximate: not after the newest event" in output
    assert " after" in output.splitlines()[1]


def test_a_delayed_window_says_so(headrace, store):
    output = headrace(
        "pipeline", "inspect", "fraud", "terminal_risk", "--key", 1, "--store", store, "--at", AS_OF
    ).output
    assert "delayed by 7 days" in output


def test_a_key_never_seen_is_said_and_its_windows_are_empty(headrace, store):
    output = headrace(*CARD, "--key", 99, "--store", store).output
    assert "never seen: the store has no record of this key" in output
    assert "count 0, mean -" in output
    assert json.loads(headrace(*CARD, "--key", 99, "--store", store, "--json").output)["found"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("card_activty", "--key", "2"),
            "application 'fraud' has no group 'card_activty', needs one of card_activity,",
        ),
        (("card_activty", "--key", "2"), "did you mean 'card_activity'?"),
        (("card_activity", "--key", "two"), "--key is 'two', needs cc_num of group 'card_activity': int64"),
        (("card_activity", "--key", 2**63), f"--key is '{2**63}', needs cc_num of group 'card_activity': int64"),
        (("card_activity", "--key", 2, "--at", "noon"), "--at is 'noon', needs ISO 8601 or epoch milliseconds"),
        (("card_activity", "--key", 2, "--store", "no"), "there is no store at 'no': run a pipeline first"),
        (("card_activity", "--key", 2, "--store", "of/no"), "there is no store at 'of/no': run a pipeline first"),
    ],
)
def test_what_cannot_be_shown_says_what_was_needed(headrace, store, arguments, message):
    output = headrace("pipeline", "inspect", "fraud", "--store", store, *arguments, code=1).output
    assert output.startswith("Error: ")
    assert message in output


def test_a_group_that_no_pipeline_wrote_is_refused(headrace, payments, tmp_path):
    headrace("pipeline", "run", "fraud", "--source", payments, "--store", tmp_path / "s", "--fast")
    output = headrace(
        "pipeline", "inspect", "fraud", "terminal_risk", "--key", 1, "--store", tmp_path / "s", code=1
    ).output
    assert f"the store at '{tmp_path}/s' holds no group 'terminal_risk', it has card_activity: run its" in output


def test_a_group_of_another_declaration_is_refused(headrace, tmp_path):
    held = EmbeddedStore(tmp_path / "s", durable=False)
    held.declare([declared("card_activity")])
    held.close()
    output = headrace(*CARD, "--key", 2, "--store", tmp_path / "s", code=1).output
    assert f"the store at '{tmp_path}/s' holds group 'card_activity' under another declaration" in output


def test_text_is_a_key_as_it_is():
    group = WindowedGroup("g", 1, "payments", "category", "datetime", "amount", ("count",), (Window("1h", 3_600_000),))
    assert key_of(APP, group, "12").tolist() == ["12"]
    assert key_of(APP, CARD_ACTIVITY, "12").tolist() == [12]


@pytest.mark.parametrize(
    ("ms", "said"), [(0, "0 ms"), (1999, "1,999 ms"), (2000, "2 s"), (90_000, "90 s"), (7 * DAY, "7 days")]
)
def test_lengths_of_time_are_said_in_a_unit_of_their_size(ms, said):
    assert lasting(ms) == said

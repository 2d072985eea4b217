"""A history reaches the offline store whole, once, and says what it leaves out; nulls travel as nulls."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.hopsworks.encoding import Encoder
from feature_pipelines.hopsworks.events import materialize, write_events
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, connect
from tests.feature_pipelines.hopsworks.schemas import schema_of
from tests.feature_pipelines.hopsworks.stand_in import APP, DECLARED, variables

START, NOW = 1_767_225_600_000, 1_770_000_000_000
PAYMENTS, LABELS = DECLARED.events


@pytest.fixture
def session(hopsworks):
    with connect(HopsworksSettings.of(variables(hopsworks))) as opened:
        yield opened


def history(path, count=20, **other):
    lines = [
        {
            "tid": f"{path.stem}-{n}",
            "cc_num": 7,
            "terminal_id": n % 3,
            "datetime": START + 1000 * n,
            "amount": n / 3,
            "fraud_label": n % 2 == 0,
            **other,
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_each_stream_has_its_events_once(hopsworks, session, tmp_path):
    before = hopsworks.put_offline("payments_fg", 1), hopsworks.put_offline("labels_fg", 1)
    told = []
    for _ in range(2):
        written = write_events(session, DECLARED, history(tmp_path / "a.jsonl"), now_ms=NOW, progress=told.append)
        assert [(one.rows, one.notes()) for one in written] == [(20, []), (20, [])]
    materialize(session, DECLARED, wait=True)
    assert hopsworks.put_offline("payments_fg", 1) == before[0] + 20
    assert hopsworks.put_offline("labels_fg", 1) == before[1] + 20
    assert hopsworks.rows("labels_fg", 1) == {}  # events that are learnt from are not served
    assert hopsworks.refused == []
    assert sum(told) == 80


def test_what_is_left_out_is_said(hopsworks, session, tmp_path):
    path = history(tmp_path / "b.jsonl", count=3)
    with path.open("a") as file:
        file.write('{"cc_num": 7, "terminal_id": 1, "datetime": 1767225600000, "amount": 1, "fraud_label": true}\n')
        file.write('{"tid": "x", "terminal_id": 1, "datetime": 1767225600000, "amount": 1, "fraud_label": true}\n')
    payments, labels = write_events(session, DECLARED, path, now_ms=NOW)
    nameless = "1 events of {} were left out, they have no tid: Hopsworks knows a row by it"
    assert (payments.rows, labels.rows) == (3, 4)
    assert payments.notes() == [
        "1 events of payments were left out, the first because cc_num is missing, an event of payments needs it",
        nameless.format("payments"),
    ]
    assert labels.notes() == [nameless.format("labels")]


def test_a_stream_without_an_id(session, tmp_path):
    app = replace(APP, streams=tuple(replace(stream, id="") for stream in APP.streams))
    with pytest.raises(HopsworksError, match="stream 'payments' declares no id, its feature group needs one"):
        write_events(session, Declared.of(app), history(tmp_path / "c.jsonl"), now_ms=NOW)


_TEXT = st.none() | st.text()
_BOOL = st.sampled_from([0.0, 1.0, np.nan])
_NUMBER = st.floats(allow_nan=True, allow_infinity=False)


@given(st.lists(st.tuples(st.text(min_size=1), _TEXT, _BOOL, _NUMBER), min_size=1, max_size=20))
def test_nulls_of_any_kind_travel_as_nulls(events):
    schema = schema_of(PAYMENTS)
    count = len(events)
    columns = {
        "tid": np.array([event[0] for event in events], dtype=object),
        "cc_num": np.arange(count),
        "terminal_id": np.arange(count),
        "datetime": np.full(count, START),
        "amount": np.array([event[3] for event in events]),
        "latitude": np.full(count, np.nan),
        "longitude": np.zeros(count),
        "card_present": np.array([event[2] for event in events]),
        "category": np.array([event[1] for event in events], dtype=object),
    }
    parsed = fastavro.parse_schema(json.loads(schema))
    for message, (tid, category, present, amount) in zip(
        Encoder.of(PAYMENTS, schema).encode(columns, count), events, strict=True
    ):
        row = fastavro.schemaless_reader(BytesIO(message), parsed, None)
        assert (row["tid"], row["category"], row["latitude"]) == (tid, category, None)
        assert row["card_present"] == (None if np.isnan(present) else bool(present))
        assert row["amount"] == (None if np.isnan(amount) else amount)

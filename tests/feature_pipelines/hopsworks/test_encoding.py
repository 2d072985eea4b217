"""Rows as Avro: a reader of the schema gets what was written, and the bytes are those of the reference writer."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime, timedelta

import fastavro
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from applications.fraud.app import APP
from feature_pipelines.hopsworks.encoding import Encoder, SchemaMismatch, varints
from headrace.hopsworks.declared import Declared, Feature, FeatureGroup
from headrace.hopsworks.rows import rows_of
from tests.feature_pipelines.hopsworks.schemas import schema_of
from tests.headrace.hopsworks.test_rows import folded

CARDS = Declared.of(APP).groups[0]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    "bigint": WHOLE,
    "double": st.floats(allow_nan=True),
    "boolean": st.booleans(),
    "timestamp": st.integers(0, 4 * 10**12),
    "string": st.text(max_size=200),
    "binary": st.binary(max_size=300),
}


def reference(schema: str, rows: list[dict]) -> list[bytes]:
    """Return what fastavro writes of rows."""
    parsed, out = fastavro.parse_schema(json.loads(schema)), []
    for row in rows:
        text = io.BytesIO()
        fastavro.schemaless_writer(text, parsed, row)
        out.append(text.getvalue())
    return out


def as_avro(kind: str, value):
    """Return a value as a reference writer takes it."""
    if kind == "timestamp":
        return EPOCH + timedelta(milliseconds=value)
    return None if isinstance(value, float) and math.isnan(value) else value


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_columns_are_written_as_the_reference_writer_does(data):
    kinds = data.draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=12))
    of = FeatureGroup("g", 1, tuple(Feature(f"c{at}", kind) for at, kind in enumerate(kinds)), "c0", CARDS.of)
    count = data.draw(st.integers(0, 20))
    columns = {f.name: data.draw(st.lists(VALUES[f.type], min_size=count, max_size=count)) for f in of.features}
    dtypes = {"bigint": np.int64, "timestamp": np.int64, "double": np.float64, "boolean": bool}
    rows = {
        f.name: np.array(columns[f.name], dtypes[f.type]) if f.type in dtypes else columns[f.name] for f in of.features
    }
    schema = schema_of(of, extra=("computed_elsewhere",) if data.draw(st.booleans()) else ())
    dicts = [{f.name: as_avro(f.type, columns[f.name][at]) for f in of.features} for at in range(count)]
    assert Encoder.of(of, schema).encode(rows, count) == reference(schema, dicts)


@given(st.lists(WHOLE, max_size=40))
@example([0, -1, 1, 63, 64, -64, -65, 2**63 - 1, -(2**63)])
def test_longs_are_those_of_the_reference_writer(values):
    schema = json.dumps({"type": "record", "name": "x", "fields": [{"name": "v", "type": "long"}]})
    assert varints(np.array(values, np.int64)) == reference(schema, [{"v": value} for value in values])


@pytest.mark.parametrize("order", [["null", "double"], ["double", "null"]])
def test_null_may_be_either_branch(order):
    schema = schema_of(CARDS, **dict.fromkeys(CARDS.of.column_names, order))
    records = folded(CARDS.of, 30, 40, 5)
    rows = rows_of(CARDS, np.arange(30), records)
    sent = Encoder.of(CARDS, schema).encode(rows, 30)
    parsed = fastavro.parse_schema(json.loads(schema))
    for at, text in enumerate(sent):
        read = fastavro.schemaless_reader(io.BytesIO(text), parsed, None)
        assert read["tiles"] == rows["tiles"][at]
        assert (read["datetime"] - EPOCH) / timedelta(milliseconds=1) == records["newest_ms"][at]
        for name in CARDS.of.column_names:
            value = rows[name][at]
            assert read[name] is None if math.isnan(value) else read[name] == value


@pytest.mark.parametrize(
    ("types", "extra", "said"),
    [
        ({"tiles": None}, (), "it lacks tiles"),
        ({"tiles": ["null", "string"]}, (), "tiles is string, was to be bytes"),
        ({"cc_num": "int"}, (), "cc_num is int, was to be long"),
        ({"amount_mean_10m": "double"}, (), "amount_mean_10m cannot be null"),
        ({"amount_mean_10m": ["null", "float"]}, (), "amount_mean_10m is float, was to be double"),
        ({"amount_mean_10m": ["null", "double", "long"]}, (), "amount_mean_10m is null or double or long"),
        ({"datetime": ["null", "long"]}, (), "datetime is long, was to be timestamp-micros"),
        ({"theirs": "double"}, ("theirs",), "theirs is not ours and cannot be null"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused_with_what_differs(types, extra, said):
    with pytest.raises(SchemaMismatch, match=rf"schema of card_activity_fg, version 1, is another one \(.*{said}"):
        Encoder.of(CARDS, schema_of(CARDS, extra, **types))


@pytest.mark.parametrize("schema", ["", "{}", '{"type":"record"}', '{"type":"record","fields":[1]}', "[]"])
def test_a_schema_that_is_none_is_refused(schema):
    with pytest.raises(SchemaMismatch, match="schema of card_activity_fg, version 1, is no Avro record, needs one"):
        Encoder.of(CARDS, schema)

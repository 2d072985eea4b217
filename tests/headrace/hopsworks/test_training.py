"""Events come back from Hopsworks' offline store as they went in, and make the frame that serving would have given."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from applications.fraud.app import APP
from headrace.hopsworks import training
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, connect
from headrace.hopsworks.training import columns_of, history_of, pull_events, rows_to_learn
from headrace.stores.offline import OfflineStore, training_frame

START, DAY = 1_767_225_600_000, 86_400_000
DECLARED = Declared.of(APP)
PAYMENTS, LABELS = DECLARED.events


def payments(count=400):
    """Rows of both feature groups, out of order of time, some without a label, with nulls where they are allowed."""
    chance = random.Random(5)
    rows = [
        {
            "tid": f"t{n}",
            "cc_num": 4_500_000_000_000_000 + chance.randrange(6),
            "terminal_id": chance.randrange(4),
            "datetime": START + chance.randrange(40 * DAY),
            "amount": chance.expovariate(0.02),
            "latitude": chance.choice([None, chance.uniform(-90, 90)]),
            "longitude": chance.choice([None, chance.uniform(-180, 180)]),
            "card_present": chance.choice([None, True, False]),
            "category": chance.choice([None, "food"]),
        }
        for n in range(count)
    ]
    named = ("tid", "cc_num", "terminal_id", "datetime")
    labels = [
        {n: row[n] for n in named} | {"fraud_label": chance.random() < 0.3} for row in rows if chance.random() < 0.9
    ]
    return rows, labels


ROWS = payments()


@pytest.fixture(scope="module")
def held(cluster):
    """The cluster with the application applied and the rows in its offline store."""
    settings = HopsworksSettings(cluster.host, cluster.project, cluster.api_key, cluster.port, cluster.ca_file)
    with connect(settings) as session:
        apply(session, DECLARED)
    for group, rows in zip((PAYMENTS, LABELS), ROWS, strict=True):
        assert cluster.put_offline(group.name, group.version, rows) == len(rows)
    return cluster


@pytest.fixture
def store(tmp_path):
    return OfflineStore(tmp_path / "events")


def local(rows, group):
    """The history that the rows are, made without Hopsworks."""
    table = {f.name: [row[f.name] for row in rows] for f in group.features}
    kinds = {"double": np.float64, "bigint": np.int64, "timestamp": np.int64}
    columns = {
        f.name: np.array(table[f.name], dtype=kinds.get(f.type, object)) for f in group.features if f.type != "boolean"
    }
    for f in group.features:
        if f.type == "boolean":
            columns[f.name] = np.array(table[f.name], dtype=object).astype(np.float64)
    order = np.argsort(columns["datetime"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        if ours[name].dtype == object:
            assert ours[name].tolist() == theirs[name].tolist()
        else:
            np.testing.assert_array_equal(np.asarray(ours[name], np.float64), np.asarray(theirs[name], np.float64))


def test_events_come_back_as_they_were_written(held, session, store):
    assert pull_events(session, DECLARED, store) == {"payments": len(ROWS[0]), "labels": len(ROWS[1])}
    history = history_of(DECLARED, store)
    same(history["payments"], local(ROWS[0], PAYMENTS))
    same(history["labels"], local(ROWS[1], LABELS))
    assert history["payments"]["cc_num"].dtype == np.int64  # sixteen digits would not survive a float32
    assert held.unknown == []


def test_parts_are_cut_by_rows_and_told(held, session, store, monkeypatch):
    monkeypatch.setattr(training, "ROWS", 1)
    told = []
    pull_events(session, DECLARED, store, progress=told.append)
    assert sum(told) == len(ROWS[0]) + len(ROWS[1])
    assert len(list(store.path.rglob("part-*.parquet"))) == len(told)
    same(history_of(DECLARED, store)["payments"], local(ROWS[0], PAYMENTS))


def test_a_range_is_exact_to_the_millisecond(held, session, store):
    times = sorted(row["datetime"] for row in ROWS[0])
    since, until = times[50] + 1, times[300]
    pull_events(session, DECLARED, store, since_ms=since, until_ms=until)
    expected = [at for at in times if since <= at < until]
    assert history_of(DECLARED, store)["payments"]["datetime"].tolist() == expected
    assert len(expected) in (248, 249, 250)


@pytest.mark.parametrize("since_ms", [-1, 0, 999, 86_400_000])
def test_a_range_may_begin_at_the_epoch(held, session, store, since_ms):
    counts = pull_events(session, replace(DECLARED, events=(PAYMENTS,)), store, since_ms=since_ms)
    assert counts == {"payments": len(ROWS[0])}


def test_the_frame_is_that_of_the_same_events_without_hopsworks(held, session, store):
    pull_events(session, DECLARED, store)
    there = history_of(DECLARED, store)
    here = {"payments": local(ROWS[0], PAYMENTS), "labels": local(ROWS[1], LABELS)}
    frames = []
    for history in (there, here):
        rows = rows_to_learn(APP, history)
        spine = {name: rows[name] for name in APP.view.request_names}
        frames.append((training_frame(APP.view, spine, history).features, rows["fraud_label"]))
    np.testing.assert_array_equal(frames[0][0], frames[1][0])
    np.testing.assert_array_equal(frames[0][1], frames[1][1])
    known = {row["tid"]: float(row["fraud_label"]) for row in ROWS[1]}
    expected = [known.get(tid, np.nan) for tid in rows["tid"].tolist()]
    np.testing.assert_array_equal(rows["fraud_label"], expected)


def test_a_query_service_that_goes_away_and_one_that_is_not_there(held, session, store):
    """The last one of this file that asks for it: it does not come back."""
    one = replace(DECLARED, events=(PAYMENTS,))
    pull_events(session, one, store)
    held.call("stop_queries", told=False)
    with pytest.raises(HopsworksError, match=r"cannot read the events of payments_fg at .*Hopsworks Query Service"):
        pull_events(session, one, store)
    held.call("stop_queries")
    session.close()
    settings = HopsworksSettings(held.host, held.project, held.api_key, held.port, held.ca_file)
    with connect(settings) as again, pytest.raises(HopsworksError, match="query service") as refused:
        pull_events(again, DECLARED, store)
    assert "read the events of payments_fg" in str(refused.value)


def test_a_feature_group_that_is_not_there(session, store):
    other = replace(DECLARED, events=(replace(PAYMENTS, version=9),))
    with pytest.raises(
        HopsworksError, match=r"no feature group payments_fg version 9, needs it: run headrace hopsworks"
    ):
        pull_events(session, other, store)


def test_a_store_without_events(store):
    with pytest.raises(HopsworksError, match=r"has no events in payments_fg.*hopsworks events fraud --history PATH"):
        history_of(DECLARED, store)


def table_of(**other):
    columns = {f.name: pa.array([None], training._TYPES[f.type]) for f in LABELS.features}
    columns["datetime"] = pa.array([1_000_000], pa.timestamp("us"))
    return pa.table({name: values for name, values in {**columns, **other}.items() if values is not None})


def test_instants_of_any_unit_are_milliseconds():
    for unit, zone in (("s", None), ("us", "UTC"), ("ns", None)):
        at = pa.array([START // 1000], pa.timestamp("s")).cast(pa.timestamp(unit))
        at = at.cast(pa.timestamp(unit, zone)) if zone else at
        assert columns_of(LABELS, table_of(datetime=at))["datetime"].tolist() == [START]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"fraud_label": None}, "needs fraud_label: headrace hopsworks plan shows the difference"),
        ({"fraud_label": pa.array(["maybe"])}, "fraud_label of labels_fg is string in Hopsworks, needs bool"),
        ({"datetime": pa.array([None], pa.timestamp("us"))}, "labels_fg holds 1 rows without datetime, needs it"),
    ],
)
def test_columns_that_are_not_as_declared(other, said):
    with pytest.raises(HopsworksError, match=said):
        columns_of(LABELS, table_of(**other))


def test_labels_are_found_by_id_and_the_newest_wins():
    rows = {"tid": np.array(["a", None, "b", "c"], dtype=object), "datetime": np.arange(4)}
    labels = {
        "tid": np.array(["a", "b", None, "a"], dtype=object),
        "datetime": np.arange(4),
        "fraud_label": np.array([False, True, True, True]),
    }
    learnt = rows_to_learn(APP, {"payments": rows, "labels": labels})["fraud_label"]
    np.testing.assert_array_equal(learnt, [1.0, np.nan, 1.0, np.nan])


def test_labels_of_their_own_stream_need_no_search():
    rows = {"tid": np.array(["a"], dtype=object), "fraud_label": np.array([True])}
    assert rows_to_learn(APP, {"payments": rows})["fraud_label"].tolist() == [True]


def test_labels_without_an_id():
    app = replace(APP, streams=(replace(APP.streams[0], id=""), APP.streams[1]))
    with pytest.raises(ValueError, match="streams 'payments' and 'labels' have ids '' and 'tid', labels are found by"):
        rows_to_learn(app, {"payments": {"cc_num": np.zeros(1)}, "labels": {}})

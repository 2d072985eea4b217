"""Online ingestion: what the SDK inserts arrives, and a message a cluster would not apply changes nothing."""

import io
import json
from pathlib import Path

import fastavro
import numpy as np
import pandas as pd
import pytest
from confluent_kafka import Producer

from tests.hopsworks import StandIn, StandInError
from tests.hopsworks.sdk import CARDS, logged_in, make_group

LONG = 20_000
ROW = {"cc_num": 1, "datetime": 5_000, "amount_count_1d": 2.0, "tiles": b"abc"}


def frame_of(cards):
    times = pd.to_datetime(np.arange(len(cards)) * 1000 + 1, unit="ms")
    return pd.DataFrame(
        {"cc_num": cards, "datetime": times, "amount_count_1d": 1.5, "tiles": [b"\x00\xff"] * len(cards)}
    )


def test_rows_inserted_in_parts_arrive(cluster, store):
    group = make_group(store, "parts_fg", CARDS)
    with group.multi_part_insert() as writer:
        for start in (0, 50):
            writer.insert(frame_of(np.arange(start, start + 50)), storage="online")
    cluster.wait_ingested("parts_fg", 1, 100)
    rows = cluster.rows("parts_fg", 1)
    assert set(rows) == set(range(100))
    assert rows[51] == {"cc_num": 51, "datetime": 1001, "amount_count_1d": 1.5, "tiles": b"\x00\xff"}
    assert cluster.refused == []


class Writer:
    """Sends messages of one group, right but for what a test changes."""

    def __init__(self, cluster, store, name):
        group = make_group(store, name, CARDS)
        self.name, self.topic = name, group._online_topic_name
        self.headers = {"projectId": b"119", "featureGroupId": str(group.id).encode()}
        self.headers["subjectId"] = str(group.subject["id"]).encode()
        self.schema = fastavro.parse_schema(json.loads(group.subject["schema"]))
        self.producer = Producer({"bootstrap.servers": cluster.kafka, "linger.ms": 0})

    def send(self, row=None, key=None, value=None, headers=None):
        row = {**ROW, **(row or {})}
        said = io.BytesIO()
        fastavro.schemaless_writer(said, self.schema, {**row, "datetime": row["datetime"] * 1000})
        headers = {name: told for name, told in {**self.headers, **(headers or {})}.items() if told is not None}
        key = str(row["cc_num"]) if key is None else key
        self.producer.produce(self.topic, said.getvalue() if value is None else value, key, headers=headers)
        assert self.producer.flush(10) == 0


def test_a_long_topic_is_read_whole_though_its_first_fetch_takes_long(cluster, store):
    writer = Writer(cluster, store, "long_fg")
    cluster.delay_ingestion(0.0)
    for _ in range(LONG):
        writer.producer.produce(writer.topic, b"x" * 4_000, "1")  # refused, each of them: only the reading counts
        writer.producer.poll(0)
    writer.send({"amount_count_1d": 7.0})
    cluster.wait_ingested("long_fg", 1, 1)
    assert cluster.rows("long_fg", 1)[1]["amount_count_1d"] == 7.0


def test_an_older_row_is_passed_over_where_asked(cluster, store):
    writer = Writer(cluster, store, "newer_fg")
    writer.send()
    writer.send({"datetime": 4_000}, headers={"upsertIfNewer": b"1"})
    writer.send({"datetime": 6_000, "cc_num": 2}, headers={"upsertIfNewer": b"1"})
    cluster.wait_ingested("newer_fg", 1, 3)
    assert {key: row["datetime"] for key, row in cluster.rows("newer_fg", 1).items()} == {1: 5_000, 2: 6_000}
    writer.send({"datetime": 3_000})
    cluster.wait_ingested("newer_fg", 1, 4)
    assert cluster.rows("newer_fg", 1)[1]["datetime"] == 3_000


def test_a_row_is_deleted_and_an_offline_one_passed_over(cluster, store):
    writer = Writer(cluster, store, "deleted_fg")
    writer.send()
    writer.send({"cc_num": 2}, headers={"storage": b"offline"})
    writer.send({"cc_num": 3}, headers={"storage": b"online"})
    writer.send(headers={"operation": b"delete"})
    cluster.wait_ingested("deleted_fg", 1, 3)
    assert set(cluster.rows("deleted_fg", 1)) == {3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"headers": {"subjectId": None}}, "headers lack subjectId"),
        ({"headers": {"more": b"1"}}, "unknown: more"),
        ({"headers": {"projectId": b"120"}}, "projectId"),
        ({"headers": {"featureGroupId": b"99999"}}, "featureGroupId"),
        ({"headers": {"subjectId": b"1"}}, "subjectId"),
        ({"headers": {"onlineIngestionId": b"99999"}}, "onlineIngestionId"),
        ({"headers": {"operation": b"merge"}}, "operation"),
        ({"key": "2"}, "key"),
        ({"value": b"\x02"}, "no record"),
        ({"row": {"amount_count_1d": float("nan")}}, "not finite"),
        ({"row": {"cc_num": None}, "key": "None"}, "cc_num is null"),
    ],
)
def test_a_message_that_would_not_be_applied_is_kept_apart(cluster, store, change, said):
    name = f"refused_{len(cluster.refused)}_fg"
    writer = Writer(cluster, store, name)
    writer.send(**change)
    writer.send({"cc_num": 7})
    cluster.wait_ingested(name, 1, 1)
    assert set(cluster.rows(name, 1)) == {7}
    assert said in cluster.refused[-1]


def test_a_record_with_more_after_it_is_refused(cluster, store):
    writer = Writer(cluster, store, "longer_fg")
    said = io.BytesIO()
    fastavro.schemaless_writer(said, writer.schema, {**ROW, "datetime": 5_000_000})
    writer.send(value=said.getvalue() + b"\x00")
    writer.send({"cc_num": 7})
    cluster.wait_ingested("longer_fg", 1, 1)
    assert "ends at" in cluster.refused[-1]


def test_a_delay_holds_rows_back(cluster, store):
    writer = Writer(cluster, store, "late_fg")
    cluster.delay_ingestion(60.0)
    try:
        writer.send()
        with pytest.raises(StandInError, match="0 messages were applied"):
            cluster.wait_ingested("late_fg", 1, 1, within_s=0.2)
    finally:
        cluster.delay_ingestion(0.0)


def test_a_cluster_without_kafka_says_so(tmp_path: Path):
    with StandIn.started(tmp_path, kafka=False) as cluster, logged_in(cluster, tmp_path) as project:
        make_group(project.get_feature_store(), "quiet_fg", CARDS)
        assert cluster.put("quiet_fg", 1, [ROW]) == 1
        with pytest.raises(StandInError, match="without Kafka"):
            cluster.delay_ingestion(1.0)

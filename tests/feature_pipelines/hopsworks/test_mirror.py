"""A mirrored store: rows are sent with a transaction, acknowledged before its commit, and never more than changed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from applications.fraud.app import APP
from feature_pipelines.hopsworks.marks import refuse_alone
from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from feature_pipelines.kafka import KafkaAddress
from headrace.cli.broker import free_port, local_broker
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import rows_of
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Lookup, OffsetMismatch, StoreGrew, StoreUnavailable
from tests.feature_pipelines.hopsworks.topics import HEADERS, PARTITIONS, ingested, mirrored, target_of, writer_of
from tests.feature_pipelines.kafka.cluster import Cluster
from tests.features.streaming import settled
from tests.headrace.hopsworks.test_rows import folded

CARDS, TERMINALS = Declared.of(APP).groups
GROUP = CARDS.of
KEYS = np.arange(4_000, 4_030)


@pytest.fixture
def address(cluster: Cluster) -> KafkaAddress:
    return cluster.topic(PARTITIONS)


@pytest.fixture
def store(address: KafkaAddress):
    held = mirrored(MemoryStore(), address, CARDS)
    held.declare([GROUP])
    yield held
    held.close()


def put(store: MirroredStore, keys: np.ndarray, records: np.ndarray, start: int = 0) -> None:
    """Write records in one transaction, as a batch of a partition that ends at `start + 1`."""
    with store.transaction("payments", {"p": start}) as change:
        change.write(GROUP, keys, records)
        change.advance({"p": start + 1})


def test_the_rows_of_a_transaction_arrive_as_the_records_are_with_the_headers_of_the_sdk(store, cluster, address):
    records = folded(GROUP, KEYS.size, 90, 1)
    put(store, KEYS, records)
    rows = ingested(cluster, address, CARDS)
    expected = rows_of(CARDS, KEYS, records)
    assert sorted(rows) == [str(key) for key in KEYS]
    for at, key in enumerate(KEYS):
        row = rows[str(key)]
        assert row["tiles"] == expected["tiles"][at]
        assert row["datetime"].timestamp() * 1000 == pytest.approx(expected["datetime"][at])
        for name in GROUP.column_names:
            assert row[name] == (None if np.isnan(expected[name][at]) else expected[name][at])
    assert all(dict(message.headers()) == HEADERS for message in cluster.messages(address, PARTITIONS))
    assert store.written == KEYS.size
    assert store.offsets("payments") == {"p": 1}


def test_of_a_key_written_twice_the_last_record_is_sent_once(store, cluster, address):
    first, last = folded(GROUP, 30, 9, 1), folded(GROUP, 30, 90, 2)
    with store.transaction("payments", {}) as change:
        change.write(GROUP, KEYS, first)
        change.write(GROUP, KEYS[:10], last[:10])
    messages = cluster.messages(address, PARTITIONS)
    assert len(messages) == KEYS.size
    rows = ingested(cluster, address, CARDS)
    assert rows["4005"]["tiles"] == rows_of(CARDS, KEYS, last)["tiles"][5]
    assert rows["4015"]["tiles"] == rows_of(CARDS, KEYS, first)["tiles"][15]


def test_only_records_that_changed_are_sent(store, cluster, address):
    put(store, KEYS, folded(GROUP, 30, 9, 1))
    with store.transaction("payments", {}) as change:
        records = change.records(GROUP, KEYS)
        records[7] = folded(GROUP, 1, 40, 3)[0]
        change.write(GROUP, KEYS, records)
    assert len(cluster.messages(address, PARTITIONS)) == KEYS.size + 1
    with store.transaction("payments", {}) as change:
        change.write(GROUP, KEYS, change.records(GROUP, KEYS)[::1])
    assert store.written == KEYS.size + 1


def test_a_record_without_an_event_is_no_row(store):
    put(store, KEYS, GROUP.empty(KEYS.size))
    assert store.written == 0


def test_an_abandoned_transaction_sends_nothing(store, cluster, address):
    records = folded(GROUP, KEYS.size, 90, 1)
    with pytest.raises(OffsetMismatch):
        put(store, KEYS, records, start=7)
    with suppress(StoreGrew), store.transaction("payments", {}) as change:
        change.write(GROUP, KEYS, records)
        raise StoreGrew(1)
    assert cluster.messages(address, PARTITIONS) == []
    assert store.written == 0


class FailsOnce(MemoryStore):
    """A store of which one commit fails, as on a disk without room."""

    failed = True

    @contextmanager
    def transaction(self, source, start):
        """Begin a change that is thrown away the first time."""
        with super().transaction(source, start) as change:
            yield change
            if not self.failed:
                self.failed = True
                raise StoreUnavailable("the disk is full")


def test_where_the_commit_fails_after_the_rows_are_there_a_replay_ends_in_the_same_state(cluster, address):
    inner = FailsOnce()
    store = mirrored(inner, address, CARDS)
    store.declare([GROUP])
    records, inner.failed = folded(GROUP, KEYS.size, 90, 1), False
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        put(store, KEYS, records)
    assert store.offsets("payments") == {}
    ahead = ingested(cluster, address, CARDS)
    put(store, KEYS, records)
    assert ingested(cluster, address, CARDS) == ahead
    assert len(cluster.messages(address, PARTITIONS)) == 2 * KEYS.size
    assert store.offsets("payments") == {"p": 1}
    store.close()


def test_a_broker_that_goes_away_leaves_the_store_where_it_stood(tmp_path: Path):
    port = free_port()
    with local_broker(tmp_path / "broker", port) as servers:
        address = Cluster(servers).topic(PARTITIONS)
        heard: list[str] = []
        inner = EmbeddedStore(tmp_path / "s")
        store = mirrored(inner, address, CARDS, wait_s=2.0, tell=heard.append)
        store.declare([GROUP])
        put(store, KEYS, folded(GROUP, 30, 9, 1))
    with pytest.raises(StoreUnavailable, match=r"did not take a row: .*; nothing is committed"):
        put(store, KEYS, folded(GROUP, 30, 90, 2), start=1)
    assert heard == [f"the broker at {servers} is lost: going on when it is back"]
    assert store.offsets("payments") == {"p": 1}
    held = settled(GROUP, inner.records(Lookup(GROUP, KEYS)))
    assert held.tobytes() == settled(GROUP, folded(GROUP, 30, 9, 1)).tobytes()
    store.close()


def test_who_is_told_to_stop_does_not_wait_for_a_lost_broker(tmp_path: Path):
    asked: list[int] = []
    with local_broker(tmp_path / "broker") as servers:
        address = Cluster(servers).topic()
        store = mirrored(MemoryStore(), address, CARDS, wait_s=600.0, stop=lambda: bool(asked))
        store.declare([GROUP])
        put(store, KEYS, folded(GROUP, 30, 9, 1))
    asked.append(1)
    with pytest.raises(StoreUnavailable, match=r"told to stop before .* acknowledged 30 rows: nothing is committed"):
        put(store, KEYS, folded(GROUP, 30, 90, 2), start=1)
    assert store.offsets("payments") == {"p": 1}
    store.close()


def test_a_topic_that_is_missing_is_refused_at_the_start(cluster):
    with pytest.raises(StoreUnavailable, match=r"Hopsworks cannot be written to: .* has no topic 'nowhere'"):
        writer_of(KafkaAddress(cluster.servers, "nowhere"), CARDS)


def test_a_broker_that_is_not_there_is_refused_at_the_start():
    address = KafkaAddress(f"127.0.0.1:{free_port()}", "t")
    with pytest.raises(StoreUnavailable, match=r"Hopsworks cannot be written to: no broker answers at .* after 0.5 s"):
        writer_of(address, CARDS, wait_s=0.5)


def test_credentials_that_are_refused_are_told_without_the_password(address):
    scram = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "me"}
    target = target_of(address, CARDS, kafka={**scram, "sasl.password": "hush"})
    with pytest.raises(StoreUnavailable, match=r"Hopsworks cannot be written to: .* refuses us: ") as said:
        FeatureGroupWriter.of([target], wait_s=9.0)
    assert "hush" not in f"{said.value} {target}"


def test_a_row_that_is_too_large_is_refused_and_nothing_is_committed(cluster, address):
    target = target_of(address, CARDS, kafka={"message.max.bytes": "1000"})
    store = MirroredStore(MemoryStore(), FeatureGroupWriter.of([target], wait_s=9.0))
    store.declare([GROUP])
    with pytest.raises(StoreUnavailable, match=r"did not take a row: .*[Ss]ize.*; nothing is committed"):
        put(store, KEYS, folded(GROUP, 30, 900, 2))
    assert store.offsets("payments") == {}
    store.close()


def test_a_group_without_a_feature_group_is_refused(store):
    with pytest.raises(ValueError, match="no feature group in Hopsworks is given for terminal_risk, needs one each"):
        store.declare([GROUP, TERMINALS.of])


def test_a_store_that_holds_records_of_its_own_is_filled_before_it_is_mirrored(address):
    inner = MemoryStore()
    inner.declare([GROUP])
    with inner.transaction("payments", {}) as change:
        change.write(GROUP, KEYS, folded(GROUP, KEYS.size, 90, 1))
    store = mirrored(inner, address, CARDS)
    with pytest.raises(ValueError, match=r"holds 30 keys of group 'card_activity' .* run `headrace hopsworks fill`"):
        store.declare([GROUP])
    store.close()


def test_a_store_that_is_mirrored_is_not_written_alone_unless_that_is_said(store):
    put(store, KEYS, folded(GROUP, 30, 9, 1))
    with pytest.raises(ValueError, match=r"is written to Hopsworks too, .* needs --hopsworks, or --no-hopsworks"):
        refuse_alone(store.store, forget=False)
    refuse_alone(store.store, forget=True)
    refuse_alone(store.store, forget=False)
    with pytest.raises(ValueError, match="run `headrace hopsworks fill`"):
        store.declare([GROUP])

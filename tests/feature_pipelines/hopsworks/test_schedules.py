"""Whatever fails between a batch's rows and its commit, in whatever order: in the end each row is its record."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from applications.fraud.app import APP
from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.kafka import KafkaAddress
from feature_pipelines.tiles import add
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import rows_of
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Lookup, StoreGrew, StoreUnavailable, WritableStore
from tests.feature_pipelines.hopsworks.topics import PARTITIONS, ingested, mirrored, writer_of
from tests.feature_pipelines.kafka.cluster import Cluster

CARDS = Declared.of(APP).groups[0]
GROUP = CARDS.of
KEYS = np.arange(12)
START_MS, EVENTS = 1_767_225_600_000, 240
FAULTS = (None, None, "before the rows", "after the rows", "the process")


class Faulty(MemoryStore):
    """A store whose transactions end as `fault` says."""

    fault: str | None = None

    @contextmanager
    def transaction(self, source, start):
        """Begin a change that may be thrown away after its block has ended, as by a disk that is full."""
        with super().transaction(source, start) as change:
            yield change
            if self.fault == "after the rows":
                raise StoreUnavailable("the disk is full")


def events(chance: random.Random) -> dict[str, np.ndarray]:
    """Return payments out of order, some of them too late for every window."""
    times = [START_MS + chance.randrange(3_600_000) - 90 * 86_400_000 * (chance.random() < 0.05) for _ in range(EVENTS)]
    columns = {name: np.array([chance.randrange(400) / 4 for _ in times]) for name in (GROUP.value, *GROUP.last)}
    return {**columns, GROUP.key: np.array([chance.choice(KEYS) for _ in times]), GROUP.time: np.array(times)}


def committed(store: MirroredStore, given: dict[str, np.ndarray], start: int, end: int, *, fails: bool) -> None:
    """Fold the events from `start` to `end` in one transaction, which may fail before its rows are sent."""
    part = {name: column[start:end] for name, column in given.items()}
    with store.transaction("payments", {"p": start}) as change:
        add(change, [GROUP], part, end - start)
        change.advance({"p": end})
        if fails:
            raise StoreGrew(1)


def check(cluster: Cluster, address: KafkaAddress, records: np.ndarray) -> None:
    """Demand that the rows that the topic leaves are those of the records of KEYS."""
    expected = dict(zip(map(str, KEYS), rows_of(CARDS, KEYS, records)["tiles"], strict=True))
    assert {key: row["tiles"] for key, row in ingested(cluster, address, CARDS).items()} == expected


@pytest.mark.parametrize("seed", range(6))
def test_any_schedule_of_faults_and_replays_ends_in_the_rows_of_the_store(seed: int, cluster: Cluster):
    chance, address, inner = random.Random(seed), cluster.topic(PARTITIONS), Faulty()
    given, failed = events(chance), 0
    store = mirrored(inner, address, CARDS)
    store.declare([GROUP])
    while (at := store.offsets("payments").get("p", 0)) < EVENTS:
        fault = chance.choice(FAULTS)
        inner.fault = fault
        with suppress(StoreGrew, StoreUnavailable):
            committed(store, given, at, min(EVENTS, at + chance.randrange(1, 30)), fails=fault == "before the rows")
        inner.fault = None
        failed += store.offsets("payments").get("p", 0) == at
        if fault == "the process":
            store.close()
            store = mirrored(inner, address, CARDS)
    assert failed
    check(cluster, address, inner._read(GROUP, KEYS))
    store.close()


def test_writers_of_one_store_leave_the_rows_of_the_last_commit(cluster: Cluster, tmp_path):
    address, held = cluster.topic(PARTITIONS), EmbeddedStore(tmp_path / "s", durable=False)
    held.declare([GROUP])
    given = events(random.Random("writers"))

    def write(first: int) -> None:
        store = MirroredStore(held, writer_of(address, CARDS))
        for at in range(first, EVENTS, 4):
            with store.transaction("payments", {}) as change:
                add(change, [GROUP], {name: column[at : at + 1] for name, column in given.items()}, 1)
        store.writer.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    check(cluster, address, held.records(Lookup(GROUP, KEYS)))
    held.close()


def test_a_mirrored_store_is_a_writable_store():
    store: WritableStore = MirroredStore(MemoryStore(), None)  # type: ignore[arg-type]
    assert store.counts("payments") == {}
    assert store.newest("payments") is None
    assert store.readiness([GROUP]) == "the store holds no key of group 'card_activity': run its pipeline first"

"""A pipeline that writes to Hopsworks is killed again and again: no row is lost, and in the end each is the store's.

Most of the time such a process waits for acknowledgements, so most kills hit it between a row and its commit.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import confluent_kafka as kafka
import pytest

from feature_pipelines.hopsworks.targets import Target, targets_of
from headrace.hopsworks.session import HopsworksSettings, connect
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.hopsworks.piped import piped
from tests.feature_pipelines.hopsworks.stand_in import CARDS, expected, file_of, rows, settled, variables
from tests.feature_pipelines.kafka.cluster import WAIT_S
from tests.feature_pipelines.kafka.payments import CARDS as KEYS
from tests.feature_pipelines.kafka.payments import counted, finished, payments, start
from tests.hopsworks import StandIn

EVENTS, KILLS, BATCH = 1_500, 24, 2


class Topic:
    """The messages of a feature group as they come, seen as soon as the broker has them."""

    def __init__(self, target: Target) -> None:
        self._reader = kafka.Consumer({"bootstrap.servers": target.servers, "group.id": "seen", "fetch.wait.max.ms": 1})
        _, self.at = self._reader.get_watermark_offsets(kafka.TopicPartition(target.topic, 0), timeout=WAIT_S)
        self._reader.assign([kafka.TopicPartition(target.topic, 0, self.at)])

    def seen(self, count: int) -> None:
        """Wait for so many more messages."""
        for _ in range(count):
            assert self._reader.poll(WAIT_S) is not None
        self.at += count


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill a pipeline amid its work."""
    process.kill()
    said = process.communicate()[1]
    assert process.returncode == -9, said


def test_kill_dash_nine_loses_no_row_and_the_replay_makes_each_what_the_store_holds(hopsworks: StandIn, tmp_path: Path):
    chance = random.Random("kill -9")
    events = file_of(tmp_path / "payments.jsonl", payments(chance, EVENTS))
    with connect(HopsworksSettings.of(variables(hopsworks))) as session:
        (target,) = targets_of(session, [CARDS])
    store, ahead, topic = EmbeddedStore(tmp_path / "s", readonly=True), 0, Topic(target)
    for _ in range(KILLS):
        process = piped(target, events, tmp_path / "s", BATCH)
        topic.seen(chance.randrange(1, EVENTS // (4 * KILLS)))
        killed(process)
        topic.seen(settled(hopsworks, CARDS) - topic.at)
        there, held = rows(hopsworks, CARDS), expected(store, CARDS, KEYS)
        assert held.keys() <= there.keys()  # what is committed is there, whatever happened
        ahead += there != held
    print(f"{ahead} of {KILLS} kills hit between a row and its commit; the store stands at {counted(store)} events")
    assert ahead

    last = piped(target, events, tmp_path / "s", BATCH)
    assert last.wait(60) == 0, last.communicate()
    settled(hopsworks, CARDS)
    assert counted(store) == len(events.read_bytes().splitlines())
    assert rows(hopsworks, CARDS) == expected(store, CARDS, KEYS)
    store.close()


@pytest.mark.parametrize("engine", ["local", "bytewax"])
def test_a_command_that_is_killed_goes_on_where_it_was(engine: str, hopsworks: StandIn, tmp_path: Path):
    events = file_of(tmp_path / "payments.jsonl", payments(random.Random(engine), 2_500))
    told = ("--source", events, "--store", tmp_path / "s", "--batch", 10, "--engine", engine, "--hopsworks")
    store, environment = EmbeddedStore(tmp_path / "s", readonly=True), variables(hopsworks)
    with connect(HopsworksSettings.of(environment)) as session:
        (target,) = targets_of(session, [CARDS])
    topic = Topic(target)
    process = start(*told, environment=environment)
    topic.seen(20)
    killed(process)
    said = finished(start(*told, environment=environment), wait_s=120)
    assert "done   payments into card_activity" in said
    settled(hopsworks, CARDS)
    assert rows(hopsworks, CARDS) == expected(store, CARDS, KEYS)
    store.close()

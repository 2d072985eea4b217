"""Processes that share the partitions of a topic: one is killed and the other takes over, one leaves and hands over.

These run on librdkafka's mock cluster, which notices that a member of a group is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from select import select
from signal import SIGINT, SIGTERM
from threading import Thread
from time import monotonic

from feature_pipelines.kafka import KafkaAddress
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.kafka.cluster import PARTITIONS, SESSION_S, Cluster, within
from tests.feature_pipelines.kafka.payments import Contents, counted, finished, payments, start

SESSION, BEAT = f"session.timeout.ms={SESSION_S * 1000}", "heartbeat.interval.ms=300"


class Member:
    """A pipeline in the group, and the partitions that it says are its own."""

    def __init__(self, address: KafkaAddress, store: Path, settings: Sequence[str]) -> None:
        told = [word for setting in settings for word in ("--kafka", setting)]
        source = f"kafka://{address.servers}/{address.topic}"
        group = ("--group", address.topic)
        self.process = start("--source", source, "--store", store, "--batch", "10", "--fast", *group, *told)
        self.said: list[str] = []
        self._listener = Thread(target=lambda: self.said.extend(self.process.stdout or ()), daemon=True)
        self._listener.start()

    def holds(self) -> int:
        """Return how many partitions are read there now."""
        told = [line for line in list(self.said) if "read here: " in line]
        return 0 if not told or "none" in told[-1] else told[-1].count(",") + 1

    def end(self, code: int = 0) -> str:
        """Wait until the process is gone and return all that it said."""
        assert self.process.wait(60) == code, self.said
        self._listener.join()
        return "".join(self.said)


@contextmanager
def ended(members: Sequence[Member]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        for member in members:
            member.process.kill()


def reached(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Look until a condition holds, which it must within so many seconds, and return how many it took."""
    began, stop = monotonic(), within(seconds, condition)
    while not stop():
        select([], [], [], 0.005)
    return monotonic() - began


def alone(address: KafkaAddress, store: Path) -> Contents:
    """Return what a store holds after one process without a group has read the topic."""
    source = f"kafka://{address.servers}/{address.topic}"
    finished(start("--source", source, "--store", store, "--batch", "1", "--fast", "--group", "", "--to-end"))
    return Contents.of(store)


def taken_over(mock: Cluster, address: KafkaAddress, folder: Path, settings: Sequence[str]) -> float:
    """Kill one of two members amid its work and return how many seconds later the other had read everything."""
    messages = payments(random.Random(address.topic), 1_200)
    store = EmbeddedStore(folder / "shared", readonly=True)
    first, second = members = [Member(address, store.path, settings) for _ in range(2)]
    with ended(members):
        reached(lambda: first.holds() == second.holds() == PARTITIONS // 2)
        mock.put(address, messages[:1_100])
        reached(lambda: counted(store) > 100)
        first.process.kill()
        mock.put(address, messages[1_100:])
        seconds = reached(lambda: counted(store) == len(messages))
        assert first.process.wait() == -9
        assert second.holds() == PARTITIONS
        second.process.send_signal(SIGTERM)
        assert "done   payments into card_activity" in second.end()
    store.close()
    Contents.of(folder / "shared").check(alone(address, folder / "alone"), same_batches=False)
    return seconds


def test_a_killed_process_is_taken_over_within_twice_the_session_timeout(mock, tmp_path):
    ways = {
        "consumer": ("group.protocol=consumer",),
        "range": (SESSION, BEAT),
        "cooperative": (SESSION, BEAT, "partition.assignment.strategy=cooperative-sticky"),
    }
    with ThreadPoolExecutor(len(ways)) as pool:
        runs = {
            name: pool.submit(taken_over, mock, KafkaAddress(mock.servers, name), tmp_path / name, settings)
            for name, settings in ways.items()
        }
    seconds = {name: run.result() for name, run in runs.items()}
    print(f"taken over after {seconds} s, the session timeout being {SESSION_S} s")
    assert seconds["consumer"] < 2 * SESSION_S
    # In the older protocol the mock cluster, unlike a broker, goes on waiting for the dead member to join again.
    assert max(seconds.values()) < 3 * SESSION_S


def handed_over(cluster: Cluster, address: KafkaAddress, folder: Path, settings: Sequence[str]) -> None:
    """Let members join and leave while events arrive."""
    messages = payments(random.Random(address.topic), 1_200)
    store = EmbeddedStore(folder / "shared", readonly=True)
    members = [Member(address, store.path, settings)]
    with ended(members):
        for turn in range(2):
            begin = turn * 600
            cluster.put(address, messages[begin : begin + 300])
            members.append(Member(address, store.path, settings))
            old, new = members[-2:]
            reached(lambda old=old, new=new: old.holds() == new.holds() == PARTITIONS // 2)
            cluster.put(address, messages[begin + 300 : begin + 600])
            old.process.send_signal(SIGTERM)
            assert "done   payments into card_activity" in old.end()
            reached(lambda new=new: new.holds() == PARTITIONS)
        reached(lambda: counted(store) == len(messages))
        members[-1].process.send_signal(SIGINT)
        assert "done   payments into card_activity" in members[-1].end()
    store.close()
    Contents.of(folder / "shared").check(alone(address, folder / "alone"), same_batches=False)


def test_members_that_join_and_leave_lose_nothing_and_count_nothing_twice(cluster, mock, tmp_path):
    soon = ("session.timeout.ms=2000", BEAT)
    ways: list[tuple[Cluster, KafkaAddress, tuple[str, ...]]] = [
        (mock, KafkaAddress(mock.servers, "leaving"), ("group.protocol=consumer",)),
        # The broker of these tests does not give away what a cooperative member yields; the mock cluster does.
        (mock, KafkaAddress(mock.servers, "yielding"), (*soon, "partition.assignment.strategy=cooperative-sticky")),
        (cluster, cluster.topic(PARTITIONS), (BEAT,)),
    ]
    with ThreadPoolExecutor(len(ways)) as pool:
        runs = [
            pool.submit(handed_over, brokers, address, tmp_path / address.topic, settings)
            for brokers, address, settings in ways
        ]
    for run in runs:
        run.result()

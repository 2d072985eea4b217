"""A pipeline that reads a topic is killed again and again, and leaves what an undisturbed one leaves.

The processes belong to no group, so that each reads every partition at once: the broker of these
tests keeps the place of a killed member of a group. What a group adds is told in test_takeover.py.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from feature_pipelines.kafka import KafkaAddress
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.kafka.cluster import Cluster, within
from tests.feature_pipelines.kafka.payments import OLD, Contents, counted, finished, payments, start

EVENTS, PARTITIONS, KILLS = 4_000, 4, 52
POLL_S = 0.001
BATCHES = (1, 1, 3, 20)  # of each of the stores that are written at the same time


@dataclass
class Killed:
    """One store, and the pipelines into it that are killed."""

    address: KafkaAddress
    path: Path
    batch: int
    chance: random.Random

    def run(self, *more: str) -> subprocess.Popen[str]:
        """Start a pipeline."""
        kept = ("--store", self.path, "--batch", self.batch, "--group", "")
        return start("--source", f"kafka://{self.address.servers}/{self.address.topic}", *kept, *more)

    def kill(self, times: int) -> Iterator[int]:
        """Kill a pipeline so many times in the midst of its work; yield how far the store was then."""
        store = EmbeddedStore(self.path, readonly=True)
        for _ in range(times):
            process, goal = self.run(), counted(store) + self.chance.randrange(1, EVENTS // (4 * times))
            stop = within(60, lambda goal=goal: counted(store) >= goal)  # type: ignore[misc]
            while not stop():
                try:
                    process.wait(POLL_S)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(process.communicate()[0])
            process.kill()
            process.communicate()
            assert process.returncode == -9
            yield counted(store)
        store.close()


def test_kill_dash_nine_loses_nothing_and_counts_nothing_twice(cluster: Cluster, tmp_path):
    chance = random.Random("kill -9")
    address = cluster.topic(PARTITIONS)
    messages = payments(chance, EVENTS)
    cluster.put(address, messages)

    stores = [
        Killed(address, tmp_path / f"killed-{at}", batch, random.Random(f"kill {at}"))
        for at, batch in enumerate(BATCHES)
    ]
    with ThreadPoolExecutor(len(stores)) as pool:
        reached = list(pool.map(lambda store: list(store.kill(KILLS // len(BATCHES))), stores))
    in_the_midst = sum(0 < events < EVENTS for store in reached for events in store)
    print(f"{in_the_midst} of {sum(map(len, reached))} kills hit a process amid its work, at {reached}")
    assert in_the_midst >= 50

    stores.append(Killed(address, tmp_path / "undisturbed", 1, chance))

    def finish(store: Killed) -> Contents:
        finished(store.run("--to-end", "--fast"))
        return Contents.of(store.path)

    with ThreadPoolExecutor(len(stores)) as pool:
        *killed, whole = pool.map(finish, stores)
    assert whole.counts["events"] == EVENTS
    assert whole.counts["duplicate"] > EVENTS // 30
    assert len(whole.letters) > EVENTS // 40
    for store, found in zip(stores, killed, strict=False):
        found.check(whole, same_batches=store.batch == 1)

    # Every event within the horizon comes once more: a store that was killed knows which of them counted.
    again = [message for message in messages if OLD not in (message[2] or b"")]
    cluster.put(address, again)
    for store, before in ((stores[3], killed[3]), (stores[-1], whole)):
        after = finish(store)
        refused = len(after.letters) - len(before.letters)
        assert after.records.tobytes() == before.records.tobytes()
        assert after.counts["duplicate"] - before.counts["duplicate"] == len(again) - refused

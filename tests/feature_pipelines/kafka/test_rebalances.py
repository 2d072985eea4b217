"""A partition that changes hands while a batch is on its way: the old is thrown away and nothing is passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from feature_pipelines.kafka import KafkaAddress, KafkaSource
from feature_pipelines.sources import Batch
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import Cluster, piped, source, within
from tests.feature_pipelines.small import events_of, jsonl_of

VALUES = jsonl_of(events_of(*((1, n, 1.0) for n in range(20)))).splitlines()


class Rebalancing:
    """A consumer that hears of a rebalance between the first message of a batch and those behind it."""

    def __init__(self, consumer: Any, happens: Callable[[], None]) -> None:
        self._consumer, self._happens = consumer, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def consume(self, limit: int, wait_s: float) -> list[Any]:
        """Return what is there after the rebalance."""
        self._happens()
        messages: list[Any] = self._consumer.consume(limit, wait_s)
        return messages


def filled(cluster: Cluster) -> KafkaAddress:
    """Return a topic of one partition and twenty events."""
    address = cluster.topic()
    cluster.put_values(address, VALUES)
    return address


def polled(events: KafkaSource, limit: int) -> Batch:
    """Return the next batch."""
    batch, stop = None, within()
    while batch is None and not stop():
        batch = events.poll(limit)
    assert batch is not None
    return batch


def test_a_message_from_before_a_rebalance_is_not_taken_for_one_after_it(cluster):
    address = filled(cluster)
    events = source(address)
    events.follow(dict)  # a store that never counts anything
    assert polled(events, 10).end == {f"{address.topic}/0": 10}

    def given_back() -> None:
        place = [events._broker.at(0)]
        events._revoked(events._consumer, place)
        events._assigned(events._consumer, place)

    honest, events._consumer = events._consumer, Rebalancing(events._consumer, given_back)
    first = events.poll(10)
    events._consumer = honest
    if first is None:
        first = polled(events, 10)
    assert first.start == {f"{address.topic}/0": 0}
    assert first.origin(0) == (f"{address.topic}/0", 0)
    events.close()


def test_what_a_process_read_before_it_lost_the_partition_counts_once(cluster, tmp_path):
    address, store = filled(cluster), MemoryStore()
    late, quick = (piped(source(address), store, tmp_path / "letters") for _ in range(2))
    late.start()
    assert late.step(4) == 4
    held = polled(late.source, 6)  # type: ignore[arg-type]
    assert held.start == {f"{address.topic}/0": 4}
    assert quick.run(5, stop=within()).events == 16
    late.source.seek(store.offsets("payments"))
    assert late.run(stop=within()).events == 4
    assert store.counts("payments") == {"events": 20}
    for run in (late, quick):
        run.source.close()


def test_a_partition_that_was_lost_is_not_sought_again(cluster):
    address = filled(cluster)
    events = source(address)
    events.follow(dict)
    polled(events, 5)
    events._revoked(events._consumer, [events._broker.at(0)])
    events.seek({f"{address.topic}/0": 3})
    events.acknowledge()
    assert (events.assigned, events.lag()) == ((), {})
    events.close()

"""Any schedule of members that read, crash, hand over partitions and come too late ends in the same store.

Real sources read a real broker; what a group would tell a member is told by the schedule, since a
group needs a third of a second for what here happens some hundred times. Groups that rebalance by
themselves are in test_takeover.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_pipelines.addresses import SourceOptions
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.duplicates import counted_once
from feature_pipelines.formats import JsonReader
from feature_pipelines.kafka import KafkaSource
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import Batch, FileSource
from headrace.features import Column, FeatureView
from headrace.stores.memory import MemoryStore
from headrace.stores.offline import training_frame
from tests.feature_pipelines.kafka.cluster import Cluster, piped, refused, source, within
from tests.feature_pipelines.kafka.test_values import KNOWN, said
from tests.feature_pipelines.small import GROUP, MINUTE, NOW, contents, file_of
from tests.features.streaming import span
from tests.oracles import naive_duplicates, naive_windows

PARTITIONS, MEMBERS, CARDS = 3, 2, 5
AS_OF = 55 * MINUTE
VIEW = FeatureView(
    "v", 1, (Column("card", "int64"), Column("at", "timestamp")), (GROUP,),
    tuple(f"cards.{name}" for name in GROUP.column_names[:-1]), time="at",
)  # fmt: skip


class Crash(Exception):
    """The process is gone."""


class Fragile(MemoryStore):
    """A store whose process may be gone before a change is kept."""

    doomed = False

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[Any]:
        """Crash at the end of a change where it was asked for."""
        with super().transaction(source, start) as change:
            yield change
            if self.doomed:
                raise Crash


class Handed(KafkaSource):
    """A source that is told by the test which partitions are its own, and what happens while it holds a batch."""

    meanwhile: Callable[[], None] | None = None
    doomed = False
    ends: Mapping[int, int] = {}  # of each partition, as the test has filled it

    def follow(self, stored: Any) -> None:
        """Own nothing yet."""
        self._stored = stored

    def own(self, partitions: set[int]) -> None:
        """Be told that the group has been rebalanced."""
        self._revoked(self._consumer, [self._broker.at(p) for p in self._position])
        self._assigned(self._consumer, [self._broker.at(p) for p in partitions])

    def poll(self, limit: int) -> Batch | None:
        """Return a batch after what happens between its arrival and its commit; None only where nothing is left."""
        batch, stop = None, within()
        while batch is None and any(at < self.ends[p] for p, at in self._position.items()) and not stop():
            batch = super().poll(limit)
        happens, self.meanwhile = self.meanwhile, None
        if batch is not None and happens:
            happens()
        return batch

    def acknowledge(self) -> None:
        """Crash after the commit where it was asked for."""
        if self.doomed:
            raise Crash


class Put(NamedTuple):
    """So many of the events come to be in the topic."""

    events: int


class Deal(NamedTuple):
    """Partitions are given to members anew; a member that does not hear of it goes on with what it had."""

    owners: tuple[int, ...]  # of each partition
    heard: tuple[bool, ...]  # by each member


class Step(NamedTuple):
    """A member reads a batch, and commits it unless it crashes: before, in or after the transaction."""

    member: int
    limit: int
    crash: str
    meanwhile: tuple[Any, ...]


class Group:
    """Members that share a topic and a store."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.address, self.ends = cluster.topic(PARTITIONS), dict.fromkeys(range(PARTITIONS), 0)
        self.store, self.letters = Fragile(), DeadLetterFile(folder / "letters")
        self.members = [self._born() for _ in range(MEMBERS)]
        self._cluster, self._put = cluster, 0
        self._own: list[set[int]] = [set() for _ in self.members]
        self._busy: set[int] = set()

    def run(self, schedule: tuple[Any, ...], events: list[dict[str, Any]]) -> None:
        """Let a schedule happen, then read what is left."""
        for turn in schedule:
            self._turn(turn, events)
        self._turn(Put(len(events)), events)
        for member in self.members:
            member.source.close()
        rest = piped(source(self.address), self.store, self.letters, KNOWN)
        rest.run(7, stop=within())
        rest.source.close()

    def _turn(self, turn: Any, events: list[dict[str, Any]]) -> None:
        if isinstance(turn, Put):
            new = events[self._put : self._put + turn.events]
            self._put += len(new)
            for event in new:
                self.ends[event["card"] % PARTITIONS] += 1
            self._cluster.put(self.address, [(e["card"] % PARTITIONS, None, orjson.dumps(e)) for e in new])
        elif isinstance(turn, Deal):
            for number, member in enumerate(self.members):
                if turn.heard[number]:
                    self._own[number] = {p for p, owner in enumerate(turn.owners) if owner == number}
                    member.source.own(self._own[number])
        elif isinstance(turn, Step) and turn.member not in self._busy:
            self._busy.add(turn.member)
            self._step(turn, events)
            self._busy.remove(turn.member)

    def _step(self, turn: Step, events: list[dict[str, Any]]) -> None:
        member = self.members[turn.member]

        def happens() -> None:
            for other in turn.meanwhile:
                self._turn(other, events)
            if turn.crash == "before":
                raise Crash
            self.store.doomed = turn.crash == "within"
            member.source.doomed = turn.crash == "after"

        member.source.meanwhile = happens
        with suppress(Crash):
            member.step(turn.limit)
            member.source.doomed = self.store.doomed = False
            return
        self.store.doomed = False
        member.source.close()
        self.members[turn.member] = self._born()
        self.members[turn.member].source.own(self._own[turn.member])

    def _born(self) -> Any:
        events = Handed(self.address, JsonReader(KNOWN.names), SourceOptions(poll_s=0.03))
        events.ends = self.ends
        member = piped(events, self.store, self.letters, KNOWN)
        member.start()
        return member


cards, members = st.integers(0, CARDS - 1), st.integers(0, MEMBERS - 1)
times = st.integers(0, 50 * MINUTE)
arrivals = st.lists(st.tuples(cards, times, st.integers(-1, 40), st.booleans()), min_size=12, max_size=40)
crashes = st.sampled_from(["", "", "", "before", "within", "after"])
heard = st.sampled_from([True, True, False])
puts = st.builds(Put, st.integers(1, 12))
deals = st.builds(Deal, st.tuples(*[members] * PARTITIONS), st.tuples(*[heard] * MEMBERS))


def steps(inner: Any) -> Any:
    """Return steps during which other things happen."""
    return st.builds(Step, members, st.integers(1, 6), crashes, st.lists(inner, max_size=2).map(tuple))


plain = puts | deals
turns = steps(plain | steps(plain))
schedules = st.lists(turns | turns | plain, min_size=3, max_size=12).map(tuple)


def events_of(drawn: list[tuple[int, int, int, bool]]) -> list[dict[str, Any]]:
    """Return events in order of arrival; an amount below zero is refused, and some come again."""
    events: list[dict[str, Any]] = []
    for number, (card, at, amount, again) in enumerate(drawn):
        if again and events:
            events.append(events[number // 2])
        events.append({"card": card, "at": at, "amount": amount / 4, "note": f"n{number}"})
    return events


@settings(max_examples=60, deadline=None)
@given(arrivals, schedules)
def test_a_stream_is_a_backfill_is_the_definition_whatever_happens(cluster, tmp_path_factory, drawn, schedule):
    folder, events = tmp_path_factory.mktemp("schedule"), events_of(drawn)
    group = Group(cluster, folder)
    group.run((Put(8), Deal((0, 1, 0), (True, True)), *schedule), events)

    path = file_of(folder, "events.jsonl", b"".join(orjson.dumps(event) + b"\n" for event in events))
    whole, kept = MemoryStore(), DeadLetterFile(folder / "whole")
    Pipeline(KNOWN, (GROUP,), FileSource(path, KNOWN, order="file"), whole, kept, lambda: NOW).run()
    assert group.store._records == whole._records
    assert group.store.counts("payments") == said(whole)
    assert refused(group.letters) == refused(kept)

    counted = [event for event in events if event["amount"] >= 0]
    repeated = naive_duplicates.duplicates([(event["note"], event["at"]) for event in counted], KNOWN.horizon_ms)
    once = [event for event, again in zip(counted, repeated, strict=True) if not again]
    naive = [naive_windows.Event(event["card"], event["at"], event["amount"]) for event in once]
    history = {
        "card": np.array([event["card"] for event in counted], dtype=np.int64),
        "at": np.array([event["at"] for event in counted], dtype=np.int64),
        "amount": np.array([event["amount"] for event in counted], dtype=np.float64),
        "note": np.array([event["note"] for event in counted], dtype=object),
    }
    spine = {"card": np.arange(CARDS), "at": np.full(CARDS, AS_OF)}
    frame = training_frame(VIEW, spine, {"payments": counted_once(KNOWN, history)}).features
    streamed = contents(group.store, range(CARDS), AS_OF)
    for card in range(CARDS):
        wanted = naive_windows.read(naive, card, [span(window) for window in GROUP.windows], GROUP.stats, AS_OF)
        np.testing.assert_allclose(streamed[card, : len(wanted)], wanted, rtol=1e-9)
        np.testing.assert_allclose(frame[card], wanted, rtol=1e-6)

"""The local engine's loop, one stream into one store: poll, decode, fold, commit tiles and offsets together.

A batch is committed only if the store stands where the batch began. After a crash, or
when another process was faster, the source goes back to where the store stands: no event
is lost and none is counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np

from feature_pipelines.dead_letters import DeadLetter, DeadLetters
from feature_pipelines.duplicates import Duplicates
from feature_pipelines.engines import Report
from feature_pipelines.events import Events, decode
from feature_pipelines.handover import IN_HISTORY, Boundary
from feature_pipelines.running import Clock, Stop, never
from feature_pipelines.sinks import OWNER
from feature_pipelines.sources import Batch, Source
from feature_pipelines.tiles import add
from headrace.features.columns import some
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup
from headrace.stores.online import OffsetMismatch, StoreGrew, WritableStore
from headrace.stores.packed import prepare

BATCH = 32_768


class Observer(Protocol):
    """Is told of every batch once it is committed; `headrace.telemetry.PipelineMetrics` is one."""

    def observe(
        self,
        times: np.ndarray,
        now_ms: float,
        *,
        events: int,
        produced: np.ndarray | None,
        refused: Mapping[str, int],
        duplicates: int,
        lag: Mapping[str, int],
        commit_s: float,
    ) -> None:
        """Take note of a batch: its counted events' times, when they were produced, what was refused."""
        ...

    def rest(self, now_ms: float, lag: Mapping[str, int]) -> None:
        """Take note that nothing came."""
        ...


@dataclass(slots=True)
class Pipeline:
    """One stream, the groups computed from it, and where they and the dead letters go.

    `clock` returns epoch milliseconds; events later than that and the stream's tolerance are dead letters.
    """

    stream: Stream
    groups: Sequence[WindowedGroup]
    source: Source
    store: WritableStore
    letters: DeadLetters
    clock: Clock
    report: Report = field(default_factory=Report)
    observer: Observer | None = None
    _duplicates: Duplicates = field(init=False)
    _history: Boundary = field(default_factory=Boundary, init=False)
    _letters_at: int = field(default=0, init=False)  # where the letters stand, as far as this process knows
    _started: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._duplicates = Duplicates(self.stream)

    def start(self) -> Report:
        """Declare the groups and go to where the store stands; `run` does it where it was not done.

        Raises LayoutMismatch, and ValueError for dead letters that are not this store's, for a store that
        was half filled from history, and for one whose records are of another engine's state.
        """
        if self._started:
            return self.report
        self._started = True
        if owners := [name for name in self._stored() if name.startswith(OWNER)]:
            raise ValueError(
                f"the store holds {self.stream.name} as engine {owners[0].removeprefix(OWNER)} left it, "
                "whose events the local engine does not know and would count twice: continue with that engine, "
                "or use another store"
            )
        prepare()
        self.store.declare(self.groups)
        self._history = Boundary.of(self.store, self.stream)
        if self.letters.partition not in self._stored():
            self.letters.check_new()
        self._claim_letters()
        self.source.follow(self._stored)
        self.report.skipped = self.source.at
        return self.report

    def run(self, limit: int = BATCH, on_batch: Callable[[int], None] | None = None, stop: Stop = never) -> Report:
        """Read until the source ends or `stop()` is true, telling `on_batch` how many events each commit held.

        When it returns, everything counted is on the disk.
        """
        self.start()
        while not stop():
            done = self.step(limit)
            if done and on_batch:
                on_batch(done)
            if not done and self.source.ended:
                break
            if not done and self.observer:
                self.observer.rest(self.clock(), self.source.lag())
        self.store.flush()
        return self.report

    def run_to(self, offset: int, on_batch: Callable[[int], None] | None = None) -> None:
        """Commit events until the source stands at `offset`, or has no more; for replays, after `start`."""
        while (left := offset - self.source.at) > 0 and (done := self.step(min(left, BATCH))):
            if on_batch:
                on_batch(done)

    def step(self, limit: int = BATCH) -> int:
        """Commit up to `limit` further events; return how many, 0 where there are none now."""
        while (batch := self.source.poll(limit)) is not None:
            events = _decoded(self.stream, batch, self.clock())
            in_history = self._history.holds(self.stream, events.columns)
            events, known = events.without(in_history), int(np.count_nonzero(in_history))
            try:
                while not self._commit(batch, events, known):
                    pass
            except OffsetMismatch:
                self.source.seek(self._stored())
                continue
            self.source.acknowledge()
            return batch.count
        return 0

    def _stored(self) -> dict[str, int]:
        return self.store.offsets(self.stream.name)

    def _claim_letters(self) -> None:
        """Record in the store that the dead letters are its own, and drop what an interrupted batch left in them."""
        name = self.letters.partition
        self._letters_at = self._stored().get(name, 0)
        # Where another process was faster, or the store had to grow, the first batch claims them.
        with (
            suppress(StoreGrew, OffsetMismatch),
            self.store.transaction(self.stream.name, {name: self._letters_at}) as change,
        ):
            self._letters_at = self.letters.append([], self._letters_at)
            change.advance({name: self._letters_at})

    def _commit(self, batch: Batch, events: Events, known: int) -> bool:
        """Commit one batch, of which so many more are known from history; False where it must be run again as it is."""
        began, name, at = perf_counter(), self.letters.partition, self._letters_at
        try:
            with self.store.transaction(self.stream.name, {**batch.start, name: at}) as change:
                duplicate = self._duplicates.begin(change, events.columns)
                events = events.without(duplicate)
                late = add(change, self.groups, events.columns, int(np.count_nonzero(events.accepted)))
                letters = _letters(self.stream, batch, events, late) if events.reasons or some(late) else []
                if letters:
                    at = self.letters.append(letters, at)
                refused = Counter(letter.reason.partition(",")[0] for letter in letters) if letters else {}
                change.count({"events": batch.count, **refused, **({IN_HISTORY: known} if known else {})})
                change.advance({**batch.end, name: at})
                if (times := events.columns[self.stream.time]).size:
                    change.reach(int(times.max()))
        except StoreGrew:
            return False
        except OffsetMismatch as elsewhere:
            self._letters_at = elsewhere.stored[name]
            if any(elsewhere.stored[partition] != start for partition, start in batch.start.items()):
                raise
            return False  # only another process's letters were in between
        self._duplicates.committed()
        duplicates = int(np.count_nonzero(duplicate))
        self.report.duplicates += duplicates
        self.report.in_history += known
        self._letters_at = at
        self.report.events += batch.count
        self.report.dead += len(letters)
        for reason, count in refused.items():
            self.report.reasons[reason] = self.report.reasons.get(reason, 0) + count
        if self.observer:
            self._tell(self.observer, batch, events, refused, duplicates, perf_counter() - began)
        return True

    def _tell(
        self,
        observer: Observer,
        batch: Batch,
        events: Events,
        refused: Mapping[str, int],
        duplicates: int,
        commit_s: float,
    ) -> None:
        produced = batch.produced_ms() if batch.produced_ms else None
        observer.observe(
            events.columns[self.stream.time],
            self.clock(),
            events=batch.count,
            produced=produced,
            refused=refused,
            duplicates=duplicates,
            lag=self.source.lag(),
            commit_s=commit_s,
        )


def _decoded(stream: Stream, batch: Batch, now_ms: int) -> Events:
    events = decode(stream, batch.raw, batch.count, now_ms)
    events.reasons.update(batch.unreadable)
    return events


def _letters(stream: Stream, batch: Batch, events: Events, late: np.ndarray) -> list[DeadLetter]:
    reasons = dict(events.reasons)
    if some(late):
        read = np.flatnonzero(events.accepted)
        reasons |= {int(at): f"too late, every window of {stream.name} has moved on" for at in read[late]}
    return [DeadLetter(*batch.origin(at), reason, batch.original(at)) for at, reason in sorted(reasons.items())]

"""Run one stream into one store: poll, decode, fold, commit tiles and offsets together.

A batch is committed only if the store stands where the batch began. After a crash, or
when another process was faster, the source goes back to where the store stands: no event
is lost and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from feature_pipelines.dead_letters import DeadLetter, DeadLetterFile
from feature_pipelines.duplicates import Duplicates
from feature_pipelines.engines import Report, local
from feature_pipelines.events import Events, decode
from feature_pipelines.sources import Batch, Source
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup
from headrace.stores.online import OffsetMismatch, StoreGrew, WritableStore

Clock = Callable[[], int]
BATCH = 16_384


@dataclass(slots=True)
class Pipeline:
    """One stream, the groups computed from it, and where they and the dead letters go.

    `clock` returns epoch milliseconds; events later than that and the stream's tolerance are dead letters.
    """

    stream: Stream
    groups: Sequence[WindowedGroup]
    source: Source
    store: WritableStore
    letters: DeadLetterFile
    clock: Clock
    report: Report = field(default_factory=Report)
    _duplicates: Duplicates = field(init=False)

    def __post_init__(self) -> None:
        self._duplicates = Duplicates(self.stream)

    def start(self) -> Report:
        """Declare the groups and go to where the store stands.

        Raises LayoutMismatch, and ValueError for dead letters that are not this store's.
        """
        self.store.declare(self.groups)
        stored = self.store.offsets(self.stream.name)
        if self.letters.partition not in stored:
            self._claim_letters()
        self.source.seek(stored)
        self.report.skipped = self.source.at
        return self.report

    def run(self, limit: int = BATCH, on_batch: Callable[[int], None] | None = None) -> Report:
        """Read to the end of the source, telling `on_batch` how many events each commit held."""
        self.start()
        while done := self.step(limit):
            if on_batch:
                on_batch(done)
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
            try:
                while not self._commit(batch, events):
                    pass
                return batch.count
            except OffsetMismatch:
                self.source.seek(self.store.offsets(self.stream.name))
        return 0

    def _claim_letters(self) -> None:
        """Record in the store that the dead letters are its own, before any is written."""
        self.letters.check_new()
        name = self.letters.partition
        # Where another process was faster, or the store had to grow, the first batch claims them.
        with suppress(StoreGrew, OffsetMismatch), self.store.transaction(self.stream.name, {name: 0}) as change:
            change.advance({name: 0})

    def _commit(self, batch: Batch, events: Events) -> bool:
        """Commit one batch; False where the store had to grow and the batch must be run again."""
        letters_at = self.letters.partition
        at = self.store.offsets(self.stream.name).get(letters_at, 0)
        try:
            with self.store.transaction(self.stream.name, {**batch.start, letters_at: at}) as change:
                duplicate = self._duplicates.begin(change, events.columns)
                events = events.without(duplicate)
                late = local.add(change, self.groups, events.columns, int(events.accepted.sum()))
                letters = _letters(self.stream, batch, events, late)
                change.advance({**batch.end, letters_at: self.letters.append(letters, at)})
        except StoreGrew:
            return False
        self._duplicates.committed()
        self.report.duplicates += int(duplicate.sum())
        self.report.events += batch.count
        self.report.dead += len(letters)
        for letter in letters:
            reason = letter.reason.split(",")[0]
            self.report.reasons[reason] = self.report.reasons.get(reason, 0) + 1
        return True


def _decoded(stream: Stream, batch: Batch, now_ms: int) -> Events:
    events = decode(stream, batch.raw, batch.count, now_ms)
    events.reasons.update(batch.unreadable)
    return events


def _letters(stream: Stream, batch: Batch, events: Events, late: np.ndarray) -> list[DeadLetter]:
    reasons = dict(events.reasons)
    if late.any():
        read = np.flatnonzero(events.accepted)
        reasons |= {int(at): f"too late, every window of {stream.name} has moved on" for at in read[late]}
    return [DeadLetter(*batch.origin(at), reason, batch.original(at)) for at, reason in sorted(reasons.items())]

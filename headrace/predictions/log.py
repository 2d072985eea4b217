"""A bounded queue and a thread behind it: predictions are handed over in a microsecond, or dropped and counted.

`offer` never waits, never raises and never copies. The thread makes columns of what was handed over four times a
second, so that memory is not held long, and gives them to the sink when they are due. Times are in seconds.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from random import random
from threading import Event, Thread
from time import monotonic
from typing import Protocol

import pyarrow as pa

from headrace.predictions.columns import Run

LOG = logging.getLogger("headrace.predictions")
_TICK_S = 0.25
_MOST_RUNS = 128  # of which columns are made at a time
_QUIET_S = 10.0  # without a loss, before it is said that there are none any more


class SinkFailed(Exception):
    """Predictions could not be written; the text says why. `rows` are lost, all of the table where it is None."""

    def __init__(self, why: str, rows: int | None = None) -> None:
        super().__init__(why)
        self.rows = rows


class Sink(Protocol):
    """Where tables go; used by one thread."""

    #: How often it is to be given what there is, in seconds, and from how many rows on it is given it at once.
    every_s: float
    most_rows: int

    def write(self, table: pa.Table) -> None:
        """Take a table, or raise SinkFailed."""

    def settled(self) -> int:
        """Return how many rows were written since it was last asked; raise SinkFailed where some taken were lost."""

    def close(self) -> None:
        """Finish what was written; raise SinkFailed where that fails."""


class PredictionLog:
    """What stands between the request path and a sink.

    `share` is the part of the runs that is kept, `most_rows` how many rows may wait. Rows are counted: those `written`,
    dropped because the queue was `full`, dropped with a sink that `failed`, and `left_out` by the share.
    """

    def __init__(
        self,
        sink: Sink,
        table: Callable[[Sequence[Run]], pa.Table],
        *,
        share: float = 1.0,
        most_rows: int = 65_536,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._sink, self._table, self._share, self._most_rows = sink, table, share, most_rows
        self._runs: deque[Run] = deque()
        self._offered = self._taken = 0  # rows; each is written by one thread alone
        self._tables: list[pa.Table] = []
        self._kept = 0
        self._clock, self._lost_at = clock, 0.0
        self._due = clock() + sink.every_s
        self.written = self.full = self.failed = self.left_out = 0
        self._failing = self._taken_since = False
        self._stop = Event()
        self._thread = Thread(target=self._run, name="predictions", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many rows wait to be made columns of."""
        return self._offered - self._taken

    def offer(self, run: Run) -> None:
        """Hand over a run; its arrays may not be written to any more."""
        rows = run.written
        if self._share < 1.0 and random() >= self._share:
            self.left_out += rows
        elif self._offered - self._taken + rows > self._most_rows:
            self.full += rows
        else:
            self._offered += rows
            self._runs.append(run)

    def close(self) -> None:
        """Write what was handed over so far and end; what cannot be written is counted."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stopped = False
        while not stopped:
            stopped = self._stop.wait(_TICK_S)
            while self._runs:
                self._make()
                if self._kept >= self._sink.most_rows:
                    self._write()
            if self._tables and (stopped or self._clock() >= self._due):
                self._write()
            self._settle()
        try:
            self._sink.close()
        except SinkFailed as lost:
            self._lost(lost.rows or 0, lost)
        self._settle(ended=True)

    def _make(self) -> None:
        runs = [self._runs.popleft() for _ in range(min(len(self._runs), _MOST_RUNS))]
        if not self._tables:
            self._due = self._clock() + self._sink.every_s
        rows = sum(run.written for run in runs)
        try:
            table = self._table(runs)
        except (ValueError, TypeError, KeyError, IndexError, pa.ArrowException) as odd:
            # A run that no column can be made of is a fault of ours; the log must outlive it.
            self._lost(rows, SinkFailed(f"columns could not be made ({type(odd).__name__})"))
        else:
            self._tables.append(table)
            self._kept += table.num_rows
        self._taken += rows

    def _write(self) -> None:
        rows, tables = self._kept, self._tables
        self._kept, self._tables = 0, []
        try:
            self._sink.write(pa.concat_tables(tables))
        except SinkFailed as failed:
            self._lost(rows if failed.rows is None else failed.rows, failed)
        self._settle()

    def _settle(self, *, ended: bool = False) -> None:
        try:
            written = self._sink.settled()
        except SinkFailed as failed:
            self._lost(failed.rows or 0, failed)
            self._settle(ended=ended)  # what was written beside it
            return
        self.written += written
        self._taken_since = self._taken_since or bool(written)
        quiet = ended or self._clock() - self._lost_at >= _QUIET_S
        if self._failing and self._taken_since and quiet:
            self._failing = False
            LOG.warning("predictions are written again; %d rows were lost", self.failed)

    def _lost(self, rows: int, why: SinkFailed) -> None:
        self.failed += rows
        self._lost_at, self._taken_since = self._clock(), False
        if not self._failing:  # said once, counted always
            LOG.error("predictions are lost, serving goes on: %s", why)
        self._failing = True

"""A pipeline that is sent events at a steady rate: `python -m benchmarks.writer STORE RATE COUNT START DURABLE`.

START is an instant of CLOCK_MONOTONIC, the one clock that all processes of a machine share.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from applications.fraud.app import APP
from benchmarks.ground import NOW_MS, payments
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import Batch, Stored
from headrace.stores.embedded import EmbeddedStore

STREAM, PARTITION = "payments", "steady"


class SteadySource:
    """Events that happen one after another, `rate` a second; a poll gives those that have happened."""

    def __init__(self, events: Mapping[str, np.ndarray], rate: float, start: float) -> None:
        self._events, self._rate, self._start = events, rate, start
        self.total: int | None = len(events["datetime"])
        self.at = 0

    @property
    def ended(self) -> bool:
        """Whether every event has happened."""
        return self.at >= (self.total or 0)

    def follow(self, stored: Stored) -> None:
        """Go to where the store stands."""
        self.seek(stored())

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Go to where the store stands."""
        self.at = offsets.get(PARTITION, 0)

    def poll(self, limit: int) -> Batch | None:
        """Return what has happened since the last poll, waiting for the next event; None after the last one."""
        start = self.at
        if start >= (self.total or 0):
            return None
        time.sleep(max(0.0, self._start + start / self._rate - time.monotonic()))
        due = int((time.monotonic() - self._start) * self._rate) + 1
        self.at = end = max(start + 1, min(due, self.total or 0, start + limit))
        raw = {name: values[start:end] for name, values in self._events.items()}
        return Batch(end - start, raw, {PARTITION: start}, {PARTITION: end}, {}, repr_of, lambda at: (PARTITION, at))

    def lag(self) -> dict[str, int]:
        """Nothing lies before it happens."""
        return {}

    def acknowledge(self) -> None:
        """Nobody else follows."""

    def close(self) -> None:
        """Nothing is open."""


def repr_of(event: int) -> bytes:
    """Return an event's bytes as far as they are known here: its number."""
    return b"%d" % event


def main() -> None:
    """Write every event as it happens, then end."""
    path, rate, count, start, durable = sys.argv[1:]
    store = EmbeddedStore(path, durable=durable == "durable")
    source = SteadySource(payments(int(count)), float(rate), float(start))
    letters = DeadLetterFile(Path(path) / "letters.jsonl")
    Pipeline(APP.stream(STREAM), APP.groups_of(STREAM), source, store, letters, lambda: NOW_MS).run()
    store.close()


if __name__ == "__main__":
    main()

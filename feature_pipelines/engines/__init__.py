"""Engines: each adds events to the same tiles with the same fold.

An engine reads a stream, folds its events into the records of their keys with
`headrace.features.windows.fold`, and writes whole records. The local engine keeps offsets and
records in one transaction of the store; the others keep records in their own recoverable
state and put absolute records, so that writing one again changes nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from feature_pipelines.running import Stop

__all__ = ["ENGINES", "Engine", "Job", "Report", "Stop", "load_engine"]

#: Each engine and the module that holds it; imported only when it is run, since most are extras.
ENGINES = {
    "local": "feature_pipelines.engines.local",
    "bytewax": "feature_pipelines.engines.bytewax",
    "spark": "feature_pipelines.engines.spark",
    "flink": "feature_pipelines.engines.flink",
}


@dataclass(slots=True)
class Report:
    """What a run did."""

    events: int = 0
    dead: int = 0
    skipped: int = 0  # events the store had counted before this run
    duplicates: int = 0  # events of an id that had been counted
    in_history: int = 0  # events that the store had been filled with from history
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One stream into one store, as plain data that a worker process can be started with.

    `application` is the name a worker loads it by; `source` is `kafka://host:port/topic` or a
    path; `dead_letters` likewise, and the file beside the store where it is empty. `kafka` are
    settings of the Kafka client. With `to_end` the run is over when every event there at its
    start was read. `options` are the engine's own.
    """

    application: str
    stream: str
    source: str
    store: Path
    dead_letters: str = ""
    kafka: Mapping[str, str] = field(default_factory=dict)
    to_end: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Runs a job; each module in ENGINES names its own `ENGINE`."""

    def run(self, job: Job, stop: Stop) -> Report:
        """Run until the source ends or `stop()` is true, then write what is held and return."""
        ...


def load_engine(name: str) -> Engine:
    """Return an engine by name; ValueError where there is none, or its extra is not installed."""
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}, needs one of {', '.join(ENGINES)}")
    try:
        engine: Engine = importlib.import_module(ENGINES[name]).ENGINE
    except ModuleNotFoundError as absent:
        raise ValueError(
            f"engine {name!r} needs {absent.name}, which is not installed: pip install 'headrace[{name}]'"
        ) from absent
    return engine

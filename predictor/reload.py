"""Hot reload: a model directory that was exchanged is loaded beside the one that serves, and takes its place.

The directory is looked at every so often, which every file system can do; nothing is read while it is the
same. What takes its place was checked, opened and tried first. What is refused changes nothing: the former
model serves on, the log says why, once, and the metrics count it by reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from headrace.open_inference import OpenInferenceError
from headrace.open_inference.lasting import lasting
from headrace.open_inference.shield import outcome, say
from headrace.telemetry import ModelMetrics
from predictor.repository import ModelRefused
from predictor.server import Runs, directory_of
from predictor.serving import ServedModel, Stamp, Versions, read_versions, stamp_of

EVERY_S = 1.0


@dataclass(slots=True)
class Watch:
    """One model and the directory it is loaded from.

    `load` reads, opens and tries what is there now; it is called in a thread.
    """

    model: ServedModel
    directory: Path
    load: Callable[[], Versions]
    metrics: ModelMetrics
    say: Callable[[str], object] = field(default=say)
    _refused: Stamp | None = None

    async def look(self) -> bool:
        """Exchange the model if its directory was; return whether it was."""
        stamp = stamp_of(self.directory)
        if stamp in (self.model.stamp, self._refused):
            return False
        try:
            versions = await asyncio.to_thread(_loaded, self.model.name, self.load)
        except ModelRefused as refused:
            self._refused = stamp
            self.metrics.refused(self.model.name, refused.reason)
            self.say(f"predictor: {refused}; version {self.model.production} of {self.model.name!r} serves on\n")
            return False
        self.model.exchange(versions)
        self.metrics.loaded(self.model.name, self.model.versions, self.model.production)
        self.say(f"predictor: {self.model.name!r} now answers by version {self.model.production}\n")
        return True


def watched(
    repository: Path | str, name: str, runs: Runs, metrics: ModelMetrics, public_key: Path | None = None
) -> Watch:
    """Load a model of a repository, to be watched from then on; raises ModelRefused."""
    directory = directory_of(repository, name)
    observe = metrics.runs_of(name)

    def load() -> Versions:
        return read_versions(directory, partial(runs.open, name=name, observe=observe), public_key)

    model = ServedModel(name, _loaded(name, load))
    metrics.loaded(name, model.versions, model.production)
    metrics.watch_queue(name, lambda: model.waiting_rows)
    return Watch(model, directory, load, metrics)


def watching(watches: Iterable[Watch], every_s: float = EVERY_S) -> asyncio.Task[None]:
    """Begin to look at every model again and again; what ends that other than a cancellation is said."""
    return lasting(watch(watches, every_s), "models were watched: start the predictor anew to reload")


async def watch(
    watches: Iterable[Watch], every_s: float = EVERY_S, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Look at every model again and again, until cancelled."""
    watches = tuple(watches)
    while True:
        await pause(every_s)
        for one in watches:
            await one.look()


def _loaded(name: str, load: Callable[[], Versions]) -> Versions:
    def refusal_or_versions() -> Versions | ModelRefused:
        try:
            return load()
        except ModelRefused as refused:
            return refused

    found = outcome(refusal_or_versions)
    if isinstance(found, ModelRefused):
        raise found
    if isinstance(found, OpenInferenceError):
        raise ModelRefused(f"model {name!r} could not be loaded: {found}", "fault")
    return found

"""Hot reload: a model directory that was exchanged is loaded beside the one that serves, and takes its place.

The directory is looked at every so often, which every file system can do; nothing is read while it is the
same. What takes its place was checked, opened and tried first. What is refused changes nothing: the former
model serves on, the log says why, once, and the metrics count it by reason.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.telemetry import PredictorMetrics
from predictor.repository import ModelRefused
from predictor.serving import ServedModel, Stamp, Versions, stamp_of

EVERY_S = 1.0


@dataclass(slots=True)
class Watch:
    """One model and the directory it is loaded from.

    `load` reads, opens and tries what is there now; it is called in a thread.
    """

    model: ServedModel
    directory: Path
    load: Callable[[], Versions]
    metrics: PredictorMetrics
    say: Callable[[str], object] = field(default=sys.stderr.write)
    _refused: Stamp | None = None

    async def look(self) -> bool:
        """Exchange the model if its directory was; return whether it was."""
        stamp = stamp_of(self.directory)
        if stamp in (self.model.stamp, self._refused):
            return False
        try:
            versions = await asyncio.to_thread(self.load)
        except ModelRefused as refused:
            self._refused = stamp
            self.metrics.refused(self.model.name, refused.reason)
            self.say(f"predictor: {refused}; version {self.model.production} of {self.model.name!r} serves on\n")
            return False
        self.model.exchange(versions)
        self.metrics.loaded(self.model.name, self.model.versions, self.model.production)
        self.say(f"predictor: {self.model.name!r} now answers by version {self.model.production}\n")
        return True


async def watch(
    watches: Iterable[Watch], every_s: float = EVERY_S, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Look at every model again and again, until cancelled."""
    watches = tuple(watches)
    while True:
        await pause(every_s)
        for one in watches:
            await one.look()

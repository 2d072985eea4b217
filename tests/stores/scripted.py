"""A store that answers what a scene tells it to, when it tells it to, on a loop whose time passes by itself.

Nothing here waits: where a loop has nothing to do it goes to the instant of its next timer.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from headrace.features import WindowedGroup
from headrace.stores.online import Lookup
from headrace.stores.packed import packing_of

Outcome = TypeVar("Outcome")
#: What one read does: so many seconds until it is answered, and the failure it ends in.
Step = tuple[float, Exception | None]


class ScriptedLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, at 0 when it is made."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: ScriptedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("the scene waits for something that never happens")
        self._loop.now += timeout
        return super().select(0)


def play(scene: Callable[[ScriptedLoop], Awaitable[Outcome]]) -> Outcome:
    """Run a scene to its end; it is given the loop."""
    loop = ScriptedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def played() -> Outcome:
            return await scene(loop)

        return runner.run(played())


async def later(seconds: float) -> None:
    """Return so many seconds of the loop's time later."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done


@dataclass
class Scripted:
    """A PackedStore. Reads follow `steps` one after another; then `then`. A row is what `rows` holds of a key."""

    rows: dict[Any, bytes] = field(default_factory=dict)
    then: Step = (0.0, None)
    steps: list[Step] = field(default_factory=list)
    reason: str | None = None
    asked: list[list[tuple[str, list[Any]]]] = field(default_factory=list)
    answered: int = 0
    given_up: int = 0
    closed: bool = False

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        self.asked.append([(wanted.group.name, wanted.keys.tolist()) for wanted in lookups])
        seconds, failure = self.steps.pop(0) if self.steps else self.then
        found = [[self.rows.get(key, b"") for key in wanted.keys.tolist()] for wanted in lookups]
        try:
            if seconds:
                await later(seconds)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if failure is not None:
            raise failure
        self.answered += 1
        return found

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        return self.reason

    def close(self) -> None:
        self.closed = True


def rows_of(group: WindowedGroup, records: np.ndarray) -> list[bytes]:
    """Return records as a store keeps them."""
    return list(map(bytes, packing_of(group).encode(records)))

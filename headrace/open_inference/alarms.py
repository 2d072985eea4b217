"""Deadlines of many calls under one timer: what `asyncio.timeout_at` does, for a tenth of its cost.

A timer of its own for each call is set and taken back a thousand times for every one that rings. Here the next
instant at which any call could be late is waited for, and only then is looked who is.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Protocol


class Late(Protocol):
    """A call that has until an instant of its loop's clock."""

    instant: float

    def expire(self) -> None:
        """End, for the instant has come; called once, when the call is watched no more."""


class Alarm:
    """Ends calls that are late; one for each client or server. Instants are of the running loop's clock."""

    def __init__(self) -> None:
        self._waiting: set[Late] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = float("inf")

    def until(self, instant: float) -> Until:
        """Return a block that is cancelled at an instant, and then raises TimeoutError as `asyncio.timeout_at` does."""
        return Until(self, instant)

    def begin(self, call: Late, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a call."""
        if loop is not self._loop:  # the one before has ended, and its timer with it
            self._loop, self._timer, self._rings_at = loop, None, float("inf")
            self._waiting.clear()
        self._waiting.add(call)
        if call.instant < self._rings_at:
            self._ring_at(call.instant, loop)

    def end(self, call: Late) -> None:
        """Watch a call no more."""
        self._waiting.discard(call)

    def _ring_at(self, instant: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = instant
        self._timer = loop.call_at(instant, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._rings_at = None, float("inf")
        now = loop.time()
        for call in [call for call in self._waiting if call.instant <= now]:
            self._waiting.discard(call)
            call.expire()
        if self._waiting:
            self._ring_at(min(call.instant for call in self._waiting), loop)


class Until:
    """One call's block; made by Alarm.until, used once, by the task that enters it."""

    __slots__ = ("_alarm", "_before", "_task", "expired", "instant")

    def __init__(self, alarm: Alarm, instant: float) -> None:
        self.instant, self.expired = instant, False
        self._alarm = alarm
        self._task: asyncio.Task[Any] | None = None
        self._before = 0

    def __enter__(self) -> Until:
        """Begin; RuntimeError outside a task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline was set outside a task, needs one that can be cancelled")
        self._task, self._before = task, task.cancelling()
        self._alarm.begin(self, task.get_loop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a cancellation that was this deadline's, and nobody else's, becomes a TimeoutError."""
        self._alarm.end(self)
        task, self._task = self._task, None
        assert task is not None
        if self.expired and task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        if self._task is not None:
            self._task.cancel()

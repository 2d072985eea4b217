"""Waiting for what another thread or process does, without a guess of how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic

BOUND_S = 30.0


def until(true: Callable[[], bool], bound_s: float = BOUND_S) -> None:
    """Return once something is true; fail where it is not within the bound."""
    pause, end = Event(), monotonic() + bound_s
    while not true():
        assert monotonic() < end, "it did not become true"
        pause.wait(0.01)

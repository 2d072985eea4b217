"""Rounds: every side is measured in every round, in turn, so that a busy minute disturbs them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

Key = TypeVar("Key")


@dataclass(slots=True)
class Samples:
    """One value per round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle value; the one that is reported."""
        return median(self.values)


def turns(sides: Mapping[str, Key], rounds: int) -> Iterator[tuple[str, Key]]:
    """Yield every side once per round; who begins changes with the round."""
    names = list(sides)
    for at in range(rounds):
        for name in names[at % len(names) :] + names[: at % len(names)]:
            yield name, sides[name]


def cpu_us(work: Callable[[], object], seconds: float) -> float:
    """Return the CPU time of one call in microseconds, repeated for about so many seconds of it."""
    with undisturbed():
        began = time.process_time()
        work()
        once = max(time.process_time() - began, 1e-7)
        calls = max(1, int(seconds / once))
        began = time.process_time()
        for _ in range(calls):
            work()
        return (time.process_time() - began) / calls * 1e6


def wall_s(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    with undisturbed():
        began = time.perf_counter()
        work()
        return time.perf_counter() - began


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold the garbage collector back until the block ends."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

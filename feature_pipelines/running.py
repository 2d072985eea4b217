"""What every run is told: what time it is, when to stop, and who hears what a person should know."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
Stop = Callable[[], bool]
Tell = Callable[[str], None]


def now_ms() -> int:
    """Return the clock's epoch milliseconds."""
    return time.time_ns() // 1_000_000


def never() -> bool:
    """Go on."""
    return False


def silent(_: str) -> None:
    """Say nothing."""

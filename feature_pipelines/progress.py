"""How far a long job is: each of its parts tells which share of the whole it has done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Hears what is being done, and which share of the whole is done.
Progress = Callable[[str, float], None]


def unheard(_: str, __: float) -> None:
    """Progress that nobody follows."""


@dataclass(slots=True)
class Share:
    """One part of a job: from which share of the whole on, and how much of it.

    >>> Share(lambda doing, share: print(doing, share), "sort", start=0.5, width=0.2, total=4).advance(2)
    sort 0.6
    """

    progress: Progress
    doing: str
    start: float
    width: float
    total: int
    done: int = 0

    def advance(self, amount: int) -> None:
        """Say that so much more of this part is done."""
        self.done += amount
        self.progress(self.doing, self.start + self.width * min(1.0, self.done / max(self.total, 1)))

"""How a demo divides its payments by time, so that nothing is learnt that was not yet known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.application import Application
from headrace.features.instants import iso

HELD_OUT = 0.175  # of the time span, at its end
FEWEST_POSITIVE = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Rows in time order: learn from `train`, hold out those from `held` on, which begin at `at_ms`."""

    train: slice
    held: int
    at_ms: int

    @classmethod
    def of(cls, app: Application, times: np.ndarray, labels: np.ndarray) -> Split:
        """Split rows sorted by time. A row is learnt only if its label was known when the held-out time began.

        The first days are not learnt from either: their windows are still filling. Raises
        ValueError where too few positive rows are left on either side.
        """
        first, last = int(times[0]), int(times[-1])
        at = first + int((last - first) * (1 - HELD_OUT))
        start = first + min(app.label_delay_ms, (last - first) // 5)
        held = int(np.searchsorted(times, at))
        train = slice(int(np.searchsorted(times, start)), int(np.searchsorted(times, at - app.label_delay_ms)))
        learnt, tested = int(labels[train].sum()), int(labels[held:].sum())
        if min(learnt, tested) < FEWEST_POSITIVE or held >= times.size:
            raise ValueError(
                f"rows from {iso(first)} to {iso(last)} leave {learnt} positive to learn from and {tested} held out, "
                f"needs {FEWEST_POSITIVE} of each: give a longer history"
            )
        return cls(train, held, at)

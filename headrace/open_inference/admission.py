"""How many requests may be under way at once: as many as are answered in time, found out as they are answered.

A server of one event loop has one queue, the requests it has taken in. What waits in it is answered late
together, so that a server which takes in all that comes answers nobody in time once too much comes. The
number let in is therefore bounded: by a hard limit, and below it by Little's law. Where the mean request has
used more than PRESSED of its time, the limit becomes what was under way times the share of the time that is
aimed at. Where requests are quick again it grows back. Every step is a few additions; nothing is locked.

Times are seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: The share of its time that a request may have used on the average, and the share aimed at above that.
PRESSED, AIM = 0.6, 0.4
FULL = "as many requests are under way as are answered in time, needs fewer: try later"
#: How few requests are always let in, and after how many answers the limit is considered.
FEWEST, EVERY = 8, 32


class Admission:
    """The requests that one process has let in, and how many it may.

    >>> admission = Admission(64, clock=iter([0.0, 0.1]).__next__)
    >>> for _ in range(32):
    ...     admission.enter()
    >>> for _ in range(32):  # 32 of them in 0.1 s, and each took 0.1 of its 0.05 s
    ...     admission.leave(0.1, 0.05)
    >>> admission.limit
    8
    """

    __slots__ = ("_began", "_clock", "_done", "_share", "_taken", "each_s", "limit", "most", "pending", "shed")

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = self.limit = most
        self.pending = 0  # let in and not answered yet
        self.shed = 0  # refused because there was no room
        self.each_s = 0.0  # how much later a request is answered for every one before it
        self._clock = clock
        self._began = clock()
        self._done, self._taken, self._share = 0, 0.0, 0.0

    def enter(self) -> None:
        """Count a request that is let in."""
        self.pending += 1

    def leave(self, seconds: float, allowed_s: float) -> None:
        """Count a request that is answered, or given up, after so many of the seconds it had."""
        self.pending -= 1
        self._taken += seconds
        self._share += seconds / allowed_s
        self._done += 1
        if self._done >= EVERY:
            self._adapt()

    def full(self, allowed_s: float) -> bool:
        """Tell whether there is no room for one more, or none that would be answered within so many seconds."""
        pending = self.pending
        return pending >= self.limit or (pending >= FEWEST and pending * self.each_s > allowed_s)

    def _adapt(self) -> None:
        now = self._clock()
        elapsed = max(now - self._began, 1e-6)
        under_way = max(self._taken / elapsed, 1.0)
        share = self._share / self._done
        self.each_s = self._taken / self._done / under_way
        if share > PRESSED:
            self.limit = max(FEWEST, min(self.limit, int(under_way * AIM / share)))
        elif self.limit < self.most:
            self.limit = min(self.most, self.limit + max(1, self.limit // 8))
        self._began = now
        self._done, self._taken, self._share = 0, 0.0, 0.0

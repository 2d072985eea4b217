"""How many requests may be under way at once: as many as are answered in time, found out as they are answered.

A server of one event loop has one queue, the requests it has taken in. What waits in it is answered late
together, so that a server which takes in all that comes answers nobody in time once too much comes. The
number let in is therefore bounded: by a hard limit, and below it by what was seen. A request that was the n-th under
way and took t seconds says that each takes t / n. Where the mean request has used more than PRESSED of its time,
the limit becomes how many fit into AIM of it. Where requests are quick again it grows back. Every step is a few
additions; nothing is locked.

Times are seconds.
"""

from __future__ import annotations

FULL = "as many requests are under way as are answered in time, needs fewer: try later"
#: The share of its time that a request may have used on the average, and the share aimed at above that.
PRESSED, AIM = 0.6, 0.5
#: The most that one request is taken to have used, however late it was.
LATEST = 4.0
#: How few requests are always let in, and after how many answers the limit is considered.
FEWEST, EVERY = 8, 32


class Admission:
    """The requests that one process has let in, and how many it may.

    >>> admission = Admission(64)
    >>> for place in [admission.enter() for _ in range(32)]:  # one is answered every 2 ms, and each has 50
    ...     admission.leave(place, 0.002 * place, 0.05)
    >>> admission.limit  # of 2 ms, in 25
    12
    """

    __slots__ = (
        *("_done", "_judged", "_judged_places", "_places", "_share", "_taken"),
        *("each_s", "limit", "most", "pending", "shed"),
    )

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.pending = 0  # let in and not answered yet
        self.shed = 0  # refused because there was no room
        self.each_s = 0.0  # how much later a request is answered for every one before it
        self._begin()

    @property
    def crowded(self) -> bool:
        """Whether there is so little room that it is worth while to know who has waited how long."""
        return self.limit < self.most or self.pending >= EVERY

    def enter(self) -> int:
        """Count a request that is let in; return its place among those under way, which it leaves with."""
        self.pending += 1
        return self.pending

    def leave(self, place: int, seconds: float, allowed_s: float, given_s: float = 0.0) -> None:
        """Count a request that is answered, or given up, after so many of the seconds it had.

        `given_s` is what its caller gave it, where a part of that had gone before it was read.
        """
        self.pending -= 1
        self._places += place
        self._taken += seconds
        self._done += 1
        # Whoever gives less would be late in the smallest room, too, and says nothing of a larger one.
        if max(given_s, allowed_s) >= FEWEST * self.each_s:
            self._share += min(LATEST, seconds / allowed_s)
            self._judged_places += place
            self._judged += 1
        if self._done >= EVERY:
            self._adapt()

    def full(self, allowed_s: float) -> bool:
        """Tell whether there is no room for one more, or none that would be answered within so many seconds."""
        pending = self.pending
        return pending >= self.limit or (pending >= FEWEST and pending * self.each_s > allowed_s)

    def _adapt(self) -> None:
        self.each_s = self._taken / self._places
        if self._share > PRESSED * self._judged:
            self.limit = max(FEWEST, min(self.limit, int(self._judged_places * AIM / self._share)))
        elif self._judged and self.limit < self.most:
            self.limit = min(self.most, self.limit + max(1, self.limit // 8))
        self._begin()

    def _begin(self) -> None:
        self._done, self._places, self._taken = 0, 0, 0.0
        self._judged, self._judged_places, self._share = 0, 0, 0.0

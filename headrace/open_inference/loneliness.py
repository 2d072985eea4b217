"""Whether a run is worth waiting a turn of the event loop for those who may come along."""

from __future__ import annotations

_LONELY, _AT_ONCE = 4, 8


class Loneliness:
    """Where run after run had one asker, whoever asks need not wait, and only now and then one looks for others.

    >>> lonely = Loneliness()
    >>> for _ in range(4):
    ...     lonely.ran(1)
    >>> [lonely.lasts() for _ in range(9)]
    [True, True, True, True, True, True, True, True, False]
    """

    __slots__ = ("_lonely",)

    def __init__(self) -> None:
        self._lonely = 0  # runs in a row with one asker, and those since who did not look

    def lasts(self) -> bool:
        """Tell whether who asks need not look for company, and count who does not."""
        if not _LONELY <= self._lonely < _LONELY + _AT_ONCE:
            return False
        self._lonely += 1
        return True

    def ran(self, asked: int) -> None:
        """Count a run for which was looked, and how many had asked for it."""
        # Two look, one after the other: the last of a turn finds nobody, the first of the next does.
        self._lonely = 0 if asked > 1 else self._lonely + 1 if self._lonely < _LONELY else _LONELY - 1

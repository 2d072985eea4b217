"""How much may be asked a second time: a share of what is asked, so that a failure does not double the load."""

from __future__ import annotations

from dataclasses import dataclass

#: So many may be asked again before their share is earned: the first requests after a start, and single ones.
RESERVE = 10.0


@dataclass(slots=True)
class RetryBudget:
    """Every request earns `share` of a second attempt, up to RESERVE of them; each second attempt spends one.

    With a share of 0 there is none, and nothing is refused.

    >>> budget = RetryBudget(share=0.1)
    >>> sum(budget.spend() for _ in range(20))
    10
    """

    share: float = 0.1
    left: float = RESERVE
    spent: int = 0
    refused: int = 0

    def earn(self) -> None:
        """Take note of a request."""
        if self.left < RESERVE:
            self.left += self.share

    def spend(self) -> bool:
        """Tell whether a request may be asked again, and count that it is."""
        if self.share <= 0:
            return False
        if self.left < 1:
            self.refused += 1
            return False
        self.left -= 1
        self.spent += 1
        return True

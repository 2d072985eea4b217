"""How good a fraud score is: ROC AUC, average precision, and what a hundred checks a day would find.

Investigators can check only so many cards a day, which no ranking metric over payments
tells. Card precision follows the Fraud Detection Handbook of Y. Le Borgne, W. Siblini,
B. Lebichot and G. Bontempi (2022), chapter 4, "Precision top-k metrics", in code of our own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def metrics(
    labels: np.ndarray, scores: np.ndarray, days: np.ndarray, cards: np.ndarray, known: Iterable[int] = ()
) -> dict[str, float]:
    """Return roc_auc, average_precision and card_precision_100 of scored payments.

    Raises ValueError where the payments are all fraudulent, or none is.
    """
    if not 0 < labels.sum() < labels.size:
        raise ValueError(f"{int(labels.sum())} of {labels.size} payments are fraudulent, needs both kinds to measure")
    return {
        "roc_auc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
        "card_precision_100": card_precision(labels, scores, days, cards, top=100, known=known),
    }


def card_precision(
    labels: np.ndarray,
    scores: np.ndarray,
    days: np.ndarray,
    cards: np.ndarray,
    top: int = 100,
    known: Iterable[int] = (),
) -> float:
    """Return the share of fraudulent cards among the `top` most suspicious of each day, averaged over days.

    A card is as suspicious as its most suspicious payment of the day, and fraudulent where
    any of them is. A card once found is blocked: it leaves the days after, as `known` cards
    leave them all. On a day with fewer cards all of them are checked; days without any do not count.

    >>> day = np.zeros(3, dtype=int)
    >>> card_precision(np.array([1, 0, 0]), np.array([0.9, 0.8, 0.1]), day, np.array([7, 8, 9]), top=2)
    0.5
    """
    blocked = np.array(sorted(known), dtype=np.asarray(cards).dtype)
    shares = []
    for day in np.unique(days):
        rows = np.flatnonzero((days == day) & ~np.isin(cards, blocked))
        if not rows.size:
            continue
        names, suspicion, fraudulent = _by_card(cards[rows], scores[rows], labels[rows])
        checked = np.argsort(-suspicion, kind="stable")[:top]
        found = checked[fraudulent[checked] > 0]
        shares.append(found.size / checked.size)
        blocked = np.append(blocked, names[found])
    return float(np.mean(shares)) if shares else 0.0


def _by_card(cards: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names, at = np.unique(cards, return_inverse=True)
    highest = np.full(names.size, -np.inf)
    np.maximum.at(highest, at, scores)
    fraudulent = np.zeros(names.size)
    np.maximum.at(fraudulent, at, labels)
    return names, highest, fraudulent

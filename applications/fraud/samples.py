"""A few payments to try things with: seeded, made at once, and with nothing installed. Not for training.

A card pays now and then, and sometimes many times within minutes. The simulation in
`applications.fraud.simulation` has the fraud, the places and the size that a model needs.
"""

from __future__ import annotations

import numpy as np

from headrace.features.columns import HOUR, MINUTE

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
FIRST_CARD = 4_000_000_000_000_000
CATEGORIES = ("fuel", "grocery", "restaurant", "travel")
_SHARE_OF_BURSTS = 0.4


def sample_payments(
    count: int = 4_000, *, cards: int = 20, hours: int = 48, seed: int = 0, start_ms: int = START_MS
) -> dict[str, np.ndarray]:
    """Return columns of the stream of payments, each [count], in order of time.

    Times are int64 epoch milliseconds within `hours` of `start_ms`; amounts are of whole cents.
    The same arguments give the same payments, ids included.

    >>> payments = sample_payments(100, seed=3)
    >>> bool((np.diff(payments["datetime"]) >= 0).all()), float(payments["amount"].min()) > 0
    (True, True)
    """
    chance = np.random.default_rng(seed)
    span = hours * HOUR
    card = chance.integers(cards, size=count)
    at = chance.integers(span, size=count)
    in_burst = chance.random(count) < _SHARE_OF_BURSTS
    bursts = chance.integers(span - 20 * MINUTE, size=(cards, max(1, hours // 8)))
    chosen = bursts[card, chance.integers(bursts.shape[1], size=count)]
    at = np.where(in_burst, chosen + chance.integers(20 * MINUTE, size=count), at)
    order = np.argsort(at, kind="stable")
    card, at, in_burst = card[order], at[order], in_burst[order]
    amount = chance.gamma(2.0, np.where(in_burst, 8.0, 25.0)) + 0.5
    return {
        "tid": np.array([f"sample-{seed}-{n}" for n in range(count)], dtype=object),
        "cc_num": FIRST_CARD + card,
        "terminal_id": chance.integers(100, size=count),
        "datetime": start_ms + at,
        "amount": amount.round(2),
        "category": np.array(CATEGORIES, dtype=object)[chance.integers(len(CATEGORIES), size=count)],
    }

"""Point-in-time windows by pandas: a rolling window per card and length, closed before the row's own instant."""

from __future__ import annotations

import pandas as pd

from applications.fraud.features import CARD_ACTIVITY


def rolling(events: pd.DataFrame) -> pd.DataFrame:
    """Return count, mean, std, min and max of the amount over every window before each row."""
    grouped = events.set_index("datetime").groupby("cc_num")["amount"]
    parts = []
    for window in CARD_ACTIVITY.windows:
        rolled = grouped.rolling(f"{window.length_ms}ms", closed="left").agg(list(CARD_ACTIVITY.stats))
        parts.append(rolled.add_suffix(f"_{window.label}"))
    return pd.concat(parts, axis=1)

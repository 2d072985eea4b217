"""How a value compares with what came before it: ratios, z-scores, elapsed time.

NaN in gives NaN out. A comparison with nothing to compare against (a mean of zero,
no spread) is missing rather than infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.features.on_demand import elementwise

#: A spread below this share of the mean is rounding noise, not spread.
SMALLEST_SPREAD = 1e-9


@elementwise
def ratio(value: Any, reference: Any) -> Any:
    """Return `value / reference`, missing where the reference is zero.

    >>> float(ratio(3.0, 2.0))
    1.5
    >>> float(ratio(3.0, 0.0))
    nan
    """
    return np.divide(value, np.where(np.equal(reference, 0.0), np.nan, reference))


@elementwise
def z_score(value: Any, mean: Any, spread: Any) -> Any:
    """Return how many sample standard deviations `value` lies above `mean`; missing without spread.

    >>> float(z_score(14.0, 10.0, 2.0))
    2.0
    >>> float(z_score(14.0, 10.0, 0.0))
    nan
    """
    real = np.greater(spread, SMALLEST_SPREAD * np.abs(mean))
    return np.divide(np.subtract(value, mean), np.where(real, spread, np.nan))


@elementwise
def seconds_since(then_ms: Any, now_ms: Any) -> Any:
    """Return the seconds from `then_ms` to `now_ms` (epoch milliseconds), never negative.

    >>> float(seconds_since(1_000.0, 4_500.0))
    3.5
    """
    return np.maximum(np.subtract(now_ms, then_ms) / 1000.0, 0.0)

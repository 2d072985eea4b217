"""Clock and calendar features of an instant, in UTC.

Instants are epoch milliseconds. Hours and weekdays lie on the circle, so that 23:59
is next to 00:00 and Sunday next to Monday.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.features.on_demand import elementwise

DAY_MS = 86_400_000.0
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS  # 1970-01-01 was a Thursday; the first Monday came four days later
NIGHT_ENDS_HOUR = 6.0


@elementwise
def hour_sin(at_ms: Any) -> Any:
    """Return the sine of the time of day on a 24-hour circle.

    >>> round(float(hour_sin(6 * 3_600_000)), 6)
    1.0
    """
    return np.sin(2 * np.pi * np.mod(at_ms, DAY_MS) / DAY_MS)


@elementwise
def hour_cos(at_ms: Any) -> Any:
    """Return the cosine of the time of day on a 24-hour circle.

    >>> float(hour_cos(0))
    1.0
    """
    return np.cos(2 * np.pi * np.mod(at_ms, DAY_MS) / DAY_MS)


@elementwise
def weekday_sin(at_ms: Any) -> Any:
    """Return the sine of the weekday on a 7-day circle that starts on Monday, in whole days.

    >>> float(weekday_sin(4 * 86_400_000))
    0.0
    """
    return np.sin(2 * np.pi * weekday(at_ms) / 7)


@elementwise
def weekday_cos(at_ms: Any) -> Any:
    """Return the cosine of the weekday on a 7-day circle that starts on Monday, in whole days.

    >>> float(weekday_cos(4 * 86_400_000))
    1.0
    """
    return np.cos(2 * np.pi * weekday(at_ms) / 7)


@elementwise
def weekday(at_ms: Any) -> Any:
    """Return the weekday of an instant: 0 is Monday, 6 is Sunday.

    >>> float(weekday(0))
    3.0
    """
    return np.floor(np.mod(np.subtract(at_ms, MONDAY_MS), WEEK_MS) / DAY_MS)


@elementwise
def is_weekend(at_ms: Any) -> Any:
    """Return 1.0 on Saturday and Sunday, else 0.0; NaN where the instant is missing.

    >>> float(is_weekend(2 * 86_400_000))
    1.0
    """
    day = weekday(at_ms)
    return (day >= 5) + 0.0 * day  # 0 times NaN is NaN


@elementwise
def is_night(at_ms: Any) -> Any:
    """Return 1.0 from 00:00 until just before 06:00, else 0.0; NaN where the instant is missing.

    >>> float(is_night(0)), float(is_night(6 * 3_600_000))
    (1.0, 0.0)
    """
    hour = np.mod(at_ms, DAY_MS) / 3_600_000.0
    return (hour < NIGHT_ENDS_HOUR) + 0.0 * hour  # 0 times NaN is NaN

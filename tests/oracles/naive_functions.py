"""The on-demand functions once more, one value at a time, with the `math` module and the calendar's own clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta


def haversine_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Return the distance in kilometres by the angle between two vectors from the Earth's centre."""
    a, b = _vector(lat_a, lon_a), _vector(lat_b, lon_b)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return 6371.0088 * math.atan2(math.hypot(*cross), dot)


def speed_kmh(lat_a: float, lon_a: float, at_a: float, lat_b: float, lon_b: float, at_b: float) -> float:
    """Return kilometres per hour, over at least one second."""
    return haversine_km(lat_a, lon_a, lat_b, lon_b) / (max(at_b - at_a, 1000.0) / 3_600_000.0)


def hour_sin(at_ms: float) -> float:
    """Return the sine of the time of day."""
    return math.sin(2 * math.pi * _hours(at_ms) / 24)


def hour_cos(at_ms: float) -> float:
    """Return the cosine of the time of day."""
    return math.cos(2 * math.pi * _hours(at_ms) / 24)


def weekday_sin(at_ms: float) -> float:
    """Return the sine of the weekday, Monday being 0."""
    return math.sin(2 * math.pi * weekday(at_ms) / 7)


def weekday_cos(at_ms: float) -> float:
    """Return the cosine of the weekday, Monday being 0."""
    return math.cos(2 * math.pi * weekday(at_ms) / 7)


def weekday(at_ms: float) -> float:
    """Return 0 for Monday to 6 for Sunday."""
    return float(_moment(at_ms).weekday())


def is_weekend(at_ms: float) -> float:
    """Return 1 on Saturday and Sunday."""
    return float(_moment(at_ms).isoweekday() in (6, 7))


def is_night(at_ms: float) -> float:
    """Return 1 from midnight until just before six."""
    return float(_moment(at_ms).hour in range(6))


def ratio(value: float, reference: float) -> float:
    """Return the quotient, NaN over zero."""
    return value / reference if reference else math.nan


def z_score(value: float, mean: float, spread: float) -> float:
    """Return the distance from the mean in spreads, NaN without a spread worth the name."""
    return (value - mean) / spread if spread > 1e-9 * abs(mean) else math.nan


def seconds_since(then_ms: float, now_ms: float) -> float:
    """Return the seconds in between, 0 where `then` is later."""
    return max(now_ms - then_ms, 0.0) / 1000.0


def _vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    lat, lon = math.radians(latitude), math.radians(longitude)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def _moment(at_ms: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def _hours(at_ms: float) -> float:
    at = _moment(at_ms)
    return at.hour + at.minute / 60 + (at.second + at.microsecond / 1e6) / 3600

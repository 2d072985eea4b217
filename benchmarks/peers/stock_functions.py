"""The on-demand features as two functions of Hopsworks, in python mode: how a user of its SDK writes them.

Together they give what Headrace computes: the same features at the same instant. The SDK takes
their source from this file and runs it row by row. An unknown value is None, there and back.
"""

import math
from datetime import UTC, datetime

import hopsworks


@hopsworks.udf([float, float, float, float, float], mode="python")
def against_history(
    last_latitude, last_longitude, last_datetime, mean_24h, mean_7d, std_7d, latitude, longitude, asked_ms, amount
):
    """Return kilometres, seconds and km/h since the last payment, and the amount beside the card's means."""
    distance = passed = speed = over_mean = score = None
    if last_latitude is not None:
        lat_a, lon_a, lat_b, lon_b = map(math.radians, (last_latitude, last_longitude, latitude, longitude))
        across = math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
        chord = math.sin((lat_b - lat_a) / 2) ** 2 + across
        distance = 2 * 6371.0088 * math.asin(math.sqrt(min(chord, 1.0)))
        passed = max((asked_ms - last_datetime) / 1000.0, 0.0)
        speed = distance / (max(passed, 1.0) / 3600)
    if mean_24h:
        over_mean = amount / mean_24h
    if mean_7d is not None and std_7d is not None and std_7d > 1e-9 * abs(mean_7d):
        score = (amount - mean_7d) / std_7d
    return distance, passed, speed, over_mean, score


@hopsworks.udf([float, float, float, float, float, float], mode="python")
def of_the_moment(asked_ms):
    """Return the time of day and the weekday on the circle, whether it is weekend, and whether it is night."""
    moment = datetime.fromtimestamp(asked_ms / 1000, UTC)
    day = 2 * math.pi * (asked_ms % 86_400_000) / 86_400_000
    week = 2 * math.pi * moment.weekday() / 7
    return (
        math.sin(day),
        math.cos(day),
        math.sin(week),
        math.cos(week),
        float(moment.weekday() >= 5),
        float(moment.hour < 6),
    )


#: The functions as they are attached to the cards' feature group: what each reads, and what it gives.
ATTACHED = (
    (
        against_history,
        (
            *("last_latitude", "last_longitude", "last_datetime", "amount_mean_24h", "amount_mean_7d"),
            *("amount_std_7d", "latitude", "longitude", "asked_ms", "amount"),
        ),
        (
            *("distance_from_last_km", "seconds_since_last", "speed_from_last_kmh"),
            *("amount_over_mean_24h", "amount_zscore_7d"),
        ),
    ),
    (
        of_the_moment,
        ("asked_ms",),
        ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "is_weekend", "is_night"),
    ),
)

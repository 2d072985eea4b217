"""Two on-demand functions of Hopsworks, in python mode, with three outputs: how a user of its SDK writes them.

They give what Headrace computes at the same instant. The SDK takes their source from this file and runs it
row by row. An unknown value is None, there and back.
"""

import math

import hopsworks


@hopsworks.udf([float, float], mode="python")
def since_last(last_latitude, last_longitude, last_datetime, latitude, longitude, asked_ms):
    """Return the kilometres and the seconds since the last payment."""
    if last_latitude is None:
        return None, None
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (last_latitude, last_longitude, latitude, longitude))
    across = math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    chord = math.sin((lat_b - lat_a) / 2) ** 2 + across
    distance = 2 * 6371.0088 * math.asin(math.sqrt(min(chord, 1.0)))
    return distance, max((asked_ms - last_datetime) / 1000.0, 0.0)


@hopsworks.udf(float, mode="python")
def over_mean(amount, amount_mean_24h):
    """Return the amount over the day's mean."""
    return amount / amount_mean_24h if amount_mean_24h else None


#: The functions as they are attached to the cards' feature group: what each reads, and what it gives.
ATTACHED = (
    (
        since_last,
        ("last_latitude", "last_longitude", "last_datetime", "latitude", "longitude", "asked_ms"),
        ("distance_from_last_km", "seconds_since_last"),
    ),
    (over_mean, ("amount", "amount_mean_24h"), ("amount_over_mean_24h",)),
)

"""Distances on the surface of the Earth, and speeds over them.

Degrees in, kilometres and kilometres per hour out. Every function takes scalars or
arrays and does the same arithmetic on both; no other file of the project computes
a distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.features.on_demand import elementwise

EARTH_RADIUS_KM = 6371.0088  # IUGG mean radius
SHORTEST_HOURS = 1.0 / 3600  # two events closer than a second count as a second apart


@elementwise
def haversine_km(lat_a: Any, lon_a: Any, lat_b: Any, lon_b: Any) -> Any:
    """Return the great-circle distance between two points, in kilometres.

    Latitudes and longitudes are in degrees. Source: R. W. Sinnott, "Virtues of the
    Haversine", Sky and Telescope 68 (1984).

    >>> round(float(haversine_km(59.33, 18.07, 55.68, 12.57)), 1)  # Stockholm, Copenhagen
    521.8
    >>> float(haversine_km(10.0, 20.0, 10.0, 20.0))
    0.0
    """
    north, east = np.radians(lat_b) - np.radians(lat_a), np.radians(lon_b) - np.radians(lon_a)
    narrower = np.cos(np.radians(lat_a)) * np.cos(np.radians(lat_b))
    chord = np.sin(north / 2) ** 2 + narrower * np.sin(east / 2) ** 2
    # Rounding can push the chord of two antipodes just past 1, where arcsin is nan.
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))


@elementwise
def speed_kmh(lat_a: Any, lon_a: Any, at_a_ms: Any, lat_b: Any, lon_b: Any, at_b_ms: Any) -> Any:
    """Return the speed, in km/h, needed to be at `a` and then at `b`; times in epoch milliseconds.

    A gap under one second counts as one second, so that the speed stays finite.

    >>> round(float(speed_kmh(0.0, 0.0, 0.0, 0.0, 1.0, 3_600_000.0)), 1)
    111.2
    """
    hours = np.maximum(np.subtract(at_b_ms, at_a_ms) / 3_600_000.0, SHORTEST_HOURS)
    return haversine_km(lat_a, lon_a, lat_b, lon_b) / hours

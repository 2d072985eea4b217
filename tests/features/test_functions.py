"""Ready-made functions where they turn: midnight, week ends, antipodes, nothing to compare with."""

import numpy as np
import pytest

from headrace.features import DAY, HOUR
from headrace.features.calendar import hour_cos, hour_sin, is_night, is_weekend, weekday
from headrace.features.comparisons import ratio, seconds_since, z_score
from headrace.features.geo import EARTH_RADIUS_KM, haversine_km, speed_kmh

HALF_EARTH_KM = np.pi * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ((0, 0), (0, 180), HALF_EARTH_KM),
        ((90, 0), (-90, 123), HALF_EARTH_KM),
        ((0, 179.5), (0, -179.5), HALF_EARTH_KM / 180),  # across the date line
        ((89.999999, 0), (89.999999, 180), 2e-6 * HALF_EARTH_KM / 180),  # across a pole
        ((12.5, 45.25), (12.5, 45.25), 0.0),
    ],
)
def test_distances_on_the_far_side_and_across_the_seams(a, b, wanted):
    assert haversine_km(*a, *b) == pytest.approx(wanted, rel=1e-6)


def test_no_pair_of_antipodes_is_beyond_the_sphere():
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-90, 90, 10_000), rng.uniform(-180, 180, 10_000)
    assert haversine_km(lat, lon, -lat, lon + 180) == pytest.approx(HALF_EARTH_KM)


def test_speeds_stay_finite_where_no_time_or_less_has_passed():
    for later in (5_000.0, 5_999.0, 4_000.0):
        assert speed_kmh(0.0, 0.0, 5_000.0, 0.0, 1.0, later) == pytest.approx(HALF_EARTH_KM / 180 * 3600)


@pytest.mark.parametrize(("hour", "night"), [(0, 1), (5.999999, 1), (6, 0), (12, 0), (23.999999, 0), (-1, 0), (-20, 1)])
def test_night_is_from_midnight_until_just_before_six(hour, night):
    assert is_night(hour * HOUR) == night


@pytest.mark.parametrize(("day", "wanted"), [(0, 3), (1, 4), (2, 5), (3, 6), (4, 0), (-1, 2), (-4, 6), (20_000, 4)])
def test_weekdays_on_both_sides_of_the_epoch(day, wanted):
    assert weekday(day * DAY) == weekday(day * DAY + DAY - 1) == wanted
    assert is_weekend(day * DAY) == (wanted >= 5)


def test_the_clock_closes_at_midnight():
    assert hour_sin(DAY - 1) == pytest.approx(hour_sin(0), abs=1e-6)
    assert hour_cos(DAY - 1) == pytest.approx(hour_cos(0), abs=1e-6)


def test_flags_of_a_missing_instant_are_missing():
    assert np.isnan([is_night(np.nan), is_weekend(np.nan)]).all()


def test_nothing_to_compare_with_is_missing():
    assert np.isnan(ratio(3.0, 0.0))
    assert np.isnan(z_score(3.0, 3.0, 0.0))
    assert np.isnan(z_score(3.0, 1e6, 1e-4))  # a spread of rounding only
    assert z_score(3.0, 0.0, 2.0) == 1.5


def test_time_never_runs_backwards():
    assert seconds_since(2_000, 1_000) == 0
    assert seconds_since(np.array([1_000]), np.array([2_500])).tolist() == [1.5]

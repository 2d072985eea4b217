"""How property tests search: a fixed walk where CI is set, a new one each time on a desk."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "headrace",
    max_examples=60,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("headrace")

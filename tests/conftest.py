"""How property tests search: a fixed walk where CI is set, a new one each time on a desk; and clients that agree.

tritonclient and kserve bring messages of the same names, of which one process takes only the first. Here
tritonclient's are in a pool of their own, so that tests of both may share a process in any order.
"""

import os

from hypothesis import HealthCheck, settings

from headrace.hopsworks.descriptors import set_apart

settings.register_profile(
    "headrace",
    max_examples=60,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("headrace")

set_apart("tritonclient.grpc")

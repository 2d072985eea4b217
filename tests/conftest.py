"""How property tests search: a fixed walk where CI is set, a new one each time on a desk; and clients that agree.

tritonclient and kserve bring messages of the same names, of which one process takes only the first. Here
tritonclient's are in a pool of their own, so that tests of both may share a process in any order.
"""

import os
from contextlib import suppress

from hypothesis import HealthCheck, settings

settings.register_profile(
    "headrace",
    max_examples=60,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("headrace")

with suppress(ModuleNotFoundError):  # the environment of an engine has none of them
    from google.protobuf import descriptor_pool

    _default, _own = descriptor_pool.Default, descriptor_pool.DescriptorPool()
    descriptor_pool.Default = lambda: _own
    try:
        import tritonclient.grpc  # noqa: F401
    finally:
        descriptor_pool.Default = _default

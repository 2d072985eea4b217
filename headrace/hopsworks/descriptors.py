"""The SDK's gRPC messages in a descriptor pool of their own.

The SDK brings a client of the Open Inference protocol whose messages are called as those of every other
client (tritonclient, kserve). One process knows a name once, so whichever of them is imported second
fails. Nothing here calls the SDK's; imported apart, it is in nobody's way.
"""

from __future__ import annotations

import importlib
from contextlib import suppress

_MESSAGES = "hopsworks_common.client.istio.grpc.inference_client"


def set_apart() -> None:
    """Import the SDK's messages into a pool of their own, before the SDK imports them itself."""
    from google.protobuf import descriptor_pool

    own, default = descriptor_pool.DescriptorPool(), descriptor_pool.Default
    descriptor_pool.Default = lambda: own
    try:
        with suppress(ModuleNotFoundError):  # a version of the SDK that has none
            importlib.import_module(_MESSAGES)
    finally:
        descriptor_pool.Default = default

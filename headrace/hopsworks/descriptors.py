"""A package's gRPC messages in a descriptor pool of their own.

The SDK brings a client of the Open Inference protocol whose messages are called as those of every other
client (tritonclient, kserve). One process knows a name once, so whichever of them is imported second
fails. Nothing here calls the SDK's; imported apart, it is in nobody's way.
"""

from __future__ import annotations

import importlib
from contextlib import suppress

_MESSAGES = "hopsworks_common.client.istio.grpc.inference_client"


def set_apart(messages: str = _MESSAGES) -> None:
    """Import a module of messages, the SDK's unless said, into a pool of its own; before anybody else imports it."""
    with suppress(ModuleNotFoundError):  # what is not there is in nobody's way
        from google.protobuf import descriptor_pool

        own, default = descriptor_pool.DescriptorPool(), descriptor_pool.Default
        descriptor_pool.Default = lambda: own
        try:
            importlib.import_module(messages)
        finally:
            descriptor_pool.Default = default

"""`FeatureTransformer` under the unmodified `kserve.ModelServer`: `python -m tests.transformer.stock FLAGS`.

FLAGS are kserve's own, and `--store`. Nothing of the server is replaced but the addresses it binds:
0.0.0.0 and [::] are written into it, and a test must be heard on loopback alone.
"""

from __future__ import annotations

import argparse
from typing import Any

import kserve
import uvicorn
from grpc import aio

from headrace.settings import TransformerSettings
from transformer.server import build

HOST = "127.0.0.1"


def bind_to_loopback() -> None:
    """Make every server of this process listen on loopback, whatever address it is told."""
    configure, add_port = uvicorn.Config.__init__, aio.Server.add_insecure_port

    def configured(self: uvicorn.Config, app: Any, **told: Any) -> None:
        configure(self, app, **told | {"host": HOST})

    def added(self: aio.Server, address: str) -> int:
        return add_port(self, f"{HOST}:{address.rpartition(':')[2]}")

    uvicorn.Config.__init__ = configured  # type: ignore[assignment, method-assign]
    aio.Server.add_insecure_port = added


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser()
    for flag in ("--store", "--predictor_host", "--http_port", "--grpc_port"):
        parser.add_argument(flag, required=True)
    told = parser.parse_known_args()[0]
    bind_to_loopback()
    settings = TransformerSettings(store=told.store, predictor_host=told.predictor_host, deadline_ms=20_000)
    print(f"listening http={HOST}:{told.http_port} grpc={HOST}:{told.grpc_port}", flush=True)
    kserve.ModelServer().start([build(settings)])


if __name__ == "__main__":
    main()

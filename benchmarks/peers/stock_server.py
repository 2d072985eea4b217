"""The stock `kserve.ModelServer`, as it is installed, with its request logs off."""

from __future__ import annotations

import argparse
import logging

import kserve


def arguments() -> argparse.Namespace:
    """Return what our peers are told beside the flags that kserve reads itself."""
    parser = argparse.ArgumentParser()
    for flag in ("--http_port", "--grpc_port", "--model_name", "--predictor_host", "--values", "--store"):
        parser.add_argument(flag)
    return parser.parse_known_args()[0]


def serve(model: kserve.Model, http_port: str, grpc_port: str) -> None:
    """Serve a model until a signal; kserve's own flags come from the command line."""
    logging.disable(logging.INFO)
    print(f"listening http=127.0.0.1:{http_port} grpc=127.0.0.1:{grpc_port}", flush=True)
    kserve.ModelServer(enable_latency_logging=False).start([model])

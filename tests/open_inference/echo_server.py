"""A server for the tests: a model that answers its inputs, started with `python echo_server.py`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from headrace.open_inference import InferRequest, InferResponse, NotReady, make_app
from headrace.open_inference.server import run

INPUTS = {"amount": "FP64", "count": "INT64", "flag": "BOOL", "half": "FP16", "category": "BYTES", "small": "FP32"}


class Echo:
    """Answers every input as an output of the same name; an input `wait` makes it wait for ever."""

    def __init__(self, name: str, reason: str | None = None) -> None:
        self.name = name
        self.versions: tuple[str, ...] = ("1",)
        self.reason = reason

    def readiness(self) -> str | None:
        return self.reason

    def metadata(self) -> dict[str, Any]:
        tensors = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in INPUTS.items()]
        return {"name": self.name, "versions": ["1"], "platform": "echo", "inputs": tensors, "outputs": tensors}

    def config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "platform": "echo",
            "backend": "",
            "max_batch_size": 0,
            "input": [{"name": "amount", "data_type": "TYPE_FP64", "dims": [-1]}],
            "output": [{"name": "amount", "data_type": "TYPE_FP64", "dims": [-1]}],
            "parameters": {"headrace_fingerprint": {"string_value": "f" * 64}},
        }

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        if "wait" in request.inputs:
            await asyncio.Event().wait()
        if "broken" in request.inputs:
            raise RuntimeError(f"no idea what to do with {request.inputs['broken'].array}")
        if "refuse" in request.inputs:
            raise NotReady("the echo is gone")
        version = request.version or "1"
        return InferResponse(request.model, version, request.id, list(request.inputs.values()))

    async def predict_v1(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        return {"predictions": body["instances"]}


def servables() -> dict[str, Any]:
    """Return the models that are served."""
    return {"echo": Echo("echo")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--drain-s", type=float, default=0.0)
    asked = parser.parse_args()
    models = servables()
    app = make_app(models, max_body_bytes=1 << 20, metrics=lambda: b"echo_up 1\n", version="0.1")
    sys.exit(run(app, models, http_port=asked.http_port, grpc_port=asked.grpc_port, drain_s=asked.drain_s))

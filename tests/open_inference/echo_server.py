"""A server for the tests, `python -m tests.open_inference.echo_server`: a model that answers its inputs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Any

import uvloop

from headrace.open_inference import InferRequest, InferResponse, NotReady, make_app
from headrace.open_inference.rest.connections import Bounds
from headrace.open_inference.serving.listening import PortTaken
from headrace.open_inference.serving.member import VARIABLE, member_of
from headrace.open_inference.serving.server import serve
from headrace.open_inference.serving.workers import serve_with
from headrace.open_inference.tls import Certificate
from headrace.telemetry import ServerMetrics
from headrace.telemetry.merging import counted, merged

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


def main() -> int:
    """Serve the echo with what the flags say."""
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--http-port", type=int, default=0)
    add("--grpc-port", type=int, default=0)
    add("--drain-s", type=float, default=0.0)
    add("--deadline-s", type=float, default=5.0)
    add("--most", type=int, default=512, help="requests under way")
    add("--bounds", type=json.loads, default={}, help="of connections, as JSON")
    add("--workers", type=int, default=1)
    add("--tls", nargs=3, metavar=("CERTIFICATE", "KEY", "CLIENT_CA"), help="files; an empty CA for none")
    asked = parser.parse_args()
    if asked.workers > 1 and VARIABLE not in os.environ:
        ports = {"http_port": asked.http_port, "grpc_port": asked.grpc_port}
        return serve_with(
            asked.workers,
            host="127.0.0.1",
            **ports,
            stop_s=asked.drain_s + 15,
            flags=("--http-port", "--grpc-port"),
            lasting=counted,
        )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(served(asked))
        except PortTaken as taken:
            sys.stderr.write(f"{taken}\n")
            return 1
    return 0


async def served(asked: argparse.Namespace) -> None:
    """Serve until a signal."""
    models, own = servables(), ServerMetrics()

    def metrics() -> bytes:
        return echo_metrics() + own.text()

    app = make_app(
        models,
        default_deadline_s=asked.deadline_s,
        max_in_flight=asked.most,
        max_body_bytes=1 << 20,
        metrics=metrics,
        observe=own.observe,
        version="0.1",
    )
    await serve(
        app,
        models,
        http_port=asked.http_port,
        grpc_port=asked.grpc_port,
        drain_s=asked.drain_s,
        bounds=Bounds(**asked.bounds),
        certificate=Certificate(*asked.tls) if asked.tls else None,
        member=await member_of(os.environ, merged),
        metrics=metrics,
    )


def echo_metrics() -> bytes:
    """Return metrics of which several processes' can be made one."""
    return b"# HELP echo_up 1\n# TYPE echo_up gauge\necho_up 1.0\n"


if __name__ == "__main__":
    sys.exit(main())

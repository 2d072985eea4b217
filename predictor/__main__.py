"""`python -m predictor`: serve models of a repository over REST and gRPC.

Exit code 2 means that a model was refused, or an argument; the reason is one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import headrace
from headrace.open_inference import Servable, make_app
from headrace.open_inference.server import run
from headrace.telemetry import ServerMetrics
from predictor.repository import ModelRefused
from predictor.server import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        servables: dict[str, Servable] = {
            name: load(given.repository, name, threads=given.threads) for name in given.model
        }
    except ModelRefused as refused:
        sys.stderr.write(f"predictor: {refused}\n")
        return 2
    metrics = ServerMetrics()
    app = make_app(
        servables,
        default_deadline_s=given.deadline_ms / 1000,
        metrics=metrics.text,
        observe=metrics.observe,
        name="headrace-predictor",
        version=headrace.__version__,
    )
    return run(
        app, servables, host=given.host, http_port=given.http_port, grpc_port=given.grpc_port, drain_s=given.drain_s
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m predictor", description="Serve models of a model repository.")
    parser.add_argument("--repository", required=True, help="the model repository's directory")
    parser.add_argument("--model", required=True, action="append", help="a model of it; may be given several times")
    parser.add_argument(
        "--host", default=os.environ.get("HEADRACE_HOST", "127.0.0.1"), help="the address to listen on (%(default)s)"
    )
    parser.add_argument("--http-port", type=int, default=8080, help="REST port, 0 for any free one (%(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8081, help="gRPC port, 0 for any free one (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of one run (%(default)s)")
    parser.add_argument("--deadline-ms", type=float, default=5000.0, help="for requests that name none (%(default)s)")
    parser.add_argument("--drain-s", type=float, default=0.0, help="how long to answer on after SIGTERM (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m predictor`: serve models of a repository over REST and gRPC, and what replaces them there.

Exit code 2 means that a model was refused, or an argument; the reason is one line on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

import headrace
from headrace.open_inference import make_app
from headrace.open_inference.server import PortTaken, serve
from headrace.telemetry import PredictorMetrics
from predictor.batching import Limits
from predictor.cores import cores
from predictor.reload import EVERY_S, Watch, watched, watching
from predictor.repository import ModelRefused
from predictor.server import Runs
from predictor.serving import models_in


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    given = _parser().parse_args(arguments)
    usable = given.cores or cores()
    pool = ThreadPoolExecutor(usable, thread_name_prefix="run")
    runs = Runs(pool, usable, given.threads, Limits(given.batch_rows, given.queue_rows))
    metrics = PredictorMetrics()
    try:
        names = given.model or models_in(given.repository)
        watches = [watched(given.repository, name, runs, metrics, given.signed_by) for name in names]
    except ModelRefused as refused:
        sys.stderr.write(f"predictor: {refused}\n")
        return 2
    if not watches:
        sys.stderr.write("predictor: there is no model in the repository, needs one: train it first\n")
        return 2
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(given, watches, metrics))
    except PortTaken as taken:
        sys.stderr.write(f"{taken}\n")
        return 1
    return 0


async def _serve(given: argparse.Namespace, watches: Sequence[Watch], metrics: PredictorMetrics) -> None:
    servables = {one.model.name: one.model for one in watches}
    app = make_app(
        servables,
        default_deadline_s=given.deadline_ms / 1000,
        metrics=metrics.text,
        observe=metrics.observe,
        name="headrace-predictor",
        version=headrace.__version__,
    )
    looking = watching(watches, given.reload_s) if given.reload_s else None
    try:
        await serve(
            app,
            servables,
            host=given.host,
            http_port=given.http_port,
            grpc_port=given.grpc_port,
            drain_s=given.drain_s,
        )
    finally:
        if looking is not None:
            looking.cancel()


def _threads(said: str) -> int | None:
    return None if said == "auto" else _positive(said)


def _positive(said: str) -> int:
    if not said.isdecimal() or not int(said):
        raise argparse.ArgumentTypeError(f"{said!r} is no number of them, needs 1 or more")
    return int(said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m predictor", description="Serve models of a model repository.")
    add = parser.add_argument
    add("--repository", type=Path, required=True, help="the model repository's directory")
    add("--model", action="append", help="a model of it; may be given several times (default all that are there)")
    host = os.environ.get("HEADRACE_HOST", "127.0.0.1")
    add("--host", default=host, help="the address to listen on (%(default)s)")
    add("--http-port", type=int, default=8080, help="REST port, 0 for any free one (%(default)s)")
    add("--grpc-port", type=int, default=8081, help="gRPC port, 0 for any free one (%(default)s)")
    add("--threads", type=_threads, default="auto", help="threads of one run; auto suits each model (%(default)s)")
    add("--cores", type=_positive, help="cores to use (default those of the machine and of the container's quota)")
    add("--batch-rows", type=_positive, default=1024, help="rows joined into one run, 1 to join none (%(default)s)")
    add("--queue-rows", type=_positive, default=32_768, help="rows that may wait for a run (%(default)s)")
    add("--signed-by", type=Path, metavar="PEM", help="refuse models that this public key has not signed")
    add("--reload-s", type=float, default=EVERY_S, help="how often to look for other models, 0 never (%(default)s)")
    add("--deadline-ms", type=float, default=5000.0, help="for requests that name none (%(default)s)")
    add("--drain-s", type=float, default=0.0, help="how long to answer on after SIGTERM (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

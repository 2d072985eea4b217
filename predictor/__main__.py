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
from contextlib import closing
from pathlib import Path

import uvloop

import headrace
from headrace.cores import as_cores_allow, cores
from headrace.open_inference import make_app
from headrace.open_inference.calls import WatchedApp
from headrace.open_inference.codec import json_numbers
from headrace.open_inference.rest.connections import Bounds
from headrace.open_inference.serving.listening import GRACE_S, PortTaken
from headrace.open_inference.serving.member import VARIABLE, member_of
from headrace.open_inference.serving.server import serve
from headrace.open_inference.serving.workers import serve_with
from headrace.open_inference.tls import CertificateRefused, certificate_of
from headrace.telemetry import PredictorMetrics
from headrace.telemetry.logs import FORMATS, LEVELS, configure, refused
from headrace.telemetry.merging import counted, merged
from headrace.telemetry.watching import TracingError, Watching, tracing_of
from predictor.batching import Limits
from predictor.reload import EVERY_S, Watch, watched, watching
from predictor.repository import ModelRefused
from predictor.server import Runs
from predictor.serving import models_in


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code."""
    given = _parser().parse_args(arguments)
    usable = given.cores or cores()
    if arguments is None and VARIABLE not in os.environ and (count := as_cores_allow(given.workers, usable)) > 1:
        return _with_workers(given, count)
    usable = max(1, usable // min(given.workers, usable))
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
    json_numbers.prepare()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(given, watches, metrics))
    except (PortTaken, CertificateRefused, TracingError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    return 0


def _with_workers(given: argparse.Namespace, count: int) -> int:
    ports = {"http_port": given.http_port, "grpc_port": given.grpc_port}
    stop_s = given.drain_s + GRACE_S + 5
    try:
        flags = "--http-port", "--grpc-port"
        with closing(configure(given.log_format, given.log_level)):
            return serve_with(count, host=given.host, **ports, stop_s=stop_s, flags=flags, lasting=counted)
    except PortTaken as taken:
        sys.stderr.write(f"{taken}\n")
        return 2


async def _serve(given: argparse.Namespace, watches: Sequence[Watch], metrics: PredictorMetrics) -> None:
    servables = {one.model.name: one.model for one in watches}
    app = make_app(
        servables,
        default_deadline_s=given.deadline_ms / 1000,
        max_in_flight=given.max_in_flight,
        metrics=metrics.text,
        observe=metrics.observe,
        name="headrace-predictor",
        version=headrace.__version__,
    )
    app.gate.refused = refused
    metrics.watch_in_flight(lambda: app.gate.in_flight)
    lines = configure(given.log_format, given.log_level)
    tracing = tracing_of(os.environ, "headrace-predictor")
    looking = watching(watches, given.reload_s) if given.reload_s else None
    try:
        await serve(
            app if tracing is None else WatchedApp(app, Watching(tracing)),  # type: ignore[arg-type]
            servables,
            host=given.host,
            http_port=given.http_port,
            grpc_port=given.grpc_port,
            drain_s=given.drain_s,
            bounds=Bounds(connections=given.max_connections),
            certificate=certificate_of(given.ssl_certfile, given.ssl_keyfile, given.ssl_client_ca),
            member=await member_of(os.environ, merged),
            metrics=metrics.text,
        )
    finally:
        if looking is not None:
            looking.cancel()
        if tracing is not None:
            tracing.close()
        lines.close()


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
    add("--workers", type=_positive, default=1, help="processes on the port, at most one for each core (%(default)s)")
    add("--max-in-flight", type=_positive, default=512, help="requests under way in one process (%(default)s)")
    add("--max-connections", type=_positive, default=4096, help="HTTP connections of one process (%(default)s)")
    add("--ssl-certfile", default="", help="the certificate of both ports: PEM, read again when it changes")
    add("--ssl-keyfile", default="", help="its private key")
    add("--ssl-client-ca", default="", help="callers need a certificate of this authority")
    add("--log-format", choices=FORMATS, default="text", help="of what is said on stderr (%(default)s)")
    add("--log-level", choices=LEVELS, default="warning", help="and from which level on (%(default)s)")
    add("--drain-s", type=float, default=0.0, help="how long to answer on after SIGTERM (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""One process that serves HTTP and gRPC in one event loop, and stops without failing a request.

Once both ports are bound it prints one line on stdout: `listening http=HOST:PORT grpc=HOST:PORT`; a worker of
several tells its parent instead.

SIGTERM or SIGINT ends it in order: readiness turns to no while requests are still answered, each
with `connection: close`; after `drain_s`, or a second signal, the listeners close and what is under
way has `grace_s` to finish. A connection on which nothing is asked any more is closed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvloop

from headrace.open_inference.admission import Admission
from headrace.open_inference.errors import NotReady
from headrace.open_inference.grpc.service import serve_grpc
from headrace.open_inference.grpc.tls import credentials_of
from headrace.open_inference.lasting import lasting
from headrace.open_inference.rest.answers import metrics_answer, refusal
from headrace.open_inference.rest.app import App
from headrace.open_inference.rest.connections import Bounds, Connections
from headrace.open_inference.rest.direct import Direct
from headrace.open_inference.servable import Servable
from headrace.open_inference.serving.accepting import Accepting
from headrace.open_inference.serving.listening import (
    GRACE_S,
    PortTaken,
    in_url,
    listener,
    refuse_one_port,
    shared_listener,
)
from headrace.open_inference.serving.member import Member
from headrace.open_inference.serving.worker_channel import Subject
from headrace.open_inference.tls import Certificate

__all__ = ["PortTaken", "run", "serve"]

#: Descriptors that are no connections: the store's, the log's, those of the predictor's connections.
_SPARE = 256


async def serve(
    app: App,
    servables: Mapping[str, Servable],
    *,
    host: str = "127.0.0.1",
    http_port: int = 8080,
    grpc_port: int | None = 8081,
    drain_s: float = 0.0,
    grace_s: float = GRACE_S,
    bounds: Bounds | None = None,
    certificate: Certificate | None = None,
    member: Member | None = None,
    metrics: Callable[[], bytes] | None = None,
) -> None:
    """Serve until a signal. Port 0 is any free port; no gRPC port means HTTP alone.

    `metrics` are told at `/metrics` together with the connections' own; those of all workers where there are several.
    """
    refuse_one_port(http_port, grpc_port)
    stop = _Stop(member)
    connections = Connections(app, Admission(app.gate.max_in_flight), _as_descriptors_allow(bounds or Bounds()))
    if app.watch is None:
        connections.direct = Direct(app.gate)
    if metrics is not None:
        connections.special["/metrics"] = _told(metrics, connections, member)
    async with contextlib.AsyncExitStack() as open_now:
        http = open_now.enter_context(
            contextlib.closing((listener if member is None else shared_listener)(host, http_port))
        )
        grpc_server = await _grpc(app, servables, host, grpc_port, connections.admission, certificate, member)
        accepting = Accepting(http, connections, certificate)
        accepting.begin()
        watching = _watched(app, connections, certificate, member)
        try:
            _say(host, http, grpc_server, member)
            await stop.drained(app, drain_s)
        finally:
            accepting.end()
            ending: list[Awaitable[Any]] = [connections.empty(grace_s, opening=accepting.opening)]
            await asyncio.gather(*ending, *([grpc_server.stop(grace_s)] if grpc_server else []))
            for task in watching:
                task.cancel()


def run(app: App, servables: Mapping[str, Servable], **where: Any) -> int:
    """Serve in an event loop of its own, and return the process's exit code; see `serve`."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(app, servables, **where))
    except PortTaken as taken:
        sys.stderr.write(f"{taken}\n")
        return 1
    return 0


class _Stop:
    def __init__(self, member: Member | None) -> None:
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        self._orphaned = member.orphaned if member else asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self._second if self._first.is_set() else self._first).set()

    async def drained(self, app: App, drain_s: float) -> None:
        told = [asyncio.create_task(event.wait()) for event in (self._first, self._orphaned)]
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for task in told:
            task.cancel()
        app.gate.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._second.wait()


async def _grpc(
    app: App,
    servables: Mapping[str, Servable],
    host: str,
    port: int | None,
    admission: Admission,
    certificate: Certificate | None,
    member: Member | None,
) -> Any:
    if port is None:
        return None
    if member is None:
        listener(host, port).close()  # a taken port is found here, where the reason can be told
    return await serve_grpc(
        servables,
        f"{in_url(host)}:{port}",
        gate=app.gate,
        max_body_bytes=app.max_body_bytes,
        name=app.about["name"],
        version=app.about["version"],
        admission=admission,
        watch=app.watch,
        credentials=credentials_of(certificate) if certificate else None,
        shared=member is not None,
    )


def _watched(
    app: App, connections: Connections, certificate: Certificate | None, member: Member | None
) -> list[asyncio.Task[None]]:
    watched = [lasting(connections.watch(), "slow connections were looked for: none is cut off until a new start")]
    if certificate is not None:
        watched.append(lasting(certificate.watch(), "certificates were watched: start it anew to use another"))
    if member is not None:
        app.gate.others = lambda: member.others
        app.gate.statistics.gather = member.statistics
        member.own[Subject.STATISTICS] = app.gate.statistics.written
        watched.append(lasting(member.listen(), "the parent was listened to: this worker stops"))
        told = "the parent was told of readiness: it hears of no change until a new start"
        watched.append(lasting(member.report(app.gate.own_reason), told))
    return watched


def _say(host: str, http: socket.socket, grpc_server: Any, member: Member | None) -> None:
    if member is not None:
        member.listening()
        return
    grpc_at = f"{in_url(host)}:{grpc_server.headrace_port}" if grpc_server else "off"
    sys.stdout.write(f"listening http={in_url(host)}:{http.getsockname()[1]} grpc={grpc_at}\n")
    sys.stdout.flush()


def _told(metrics: Callable[[], bytes], connections: Connections, member: Member | None) -> Any:
    def own() -> bytes:
        return metrics() + connections.text()

    if member is not None:
        member.own[Subject.METRICS] = own

    async def tell(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await connections.app(scope, receive, send)
            return
        try:
            status, headers, text = metrics_answer(own() if member is None else await member.metrics())
        except NotReady as missed:
            status, headers, text = refusal(missed)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    return tell


def _as_descriptors_allow(bounds: Bounds) -> Bounds:
    """Let connections have no more descriptors than leave some for everything else."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = bounds.connections + _SPARE
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        return bounds.with_connections(min(bounds.connections, max(16, wanted - _SPARE)))
    return bounds

"""One process that serves HTTP and gRPC in one event loop, and stops without failing a request.

Once both ports are bound it prints one line on stdout: `listening http=HOST:PORT grpc=HOST:PORT`.

SIGTERM or SIGINT ends it in order: readiness turns to no while requests are still answered, each
with `connection: close`; after `drain_s`, or a second signal, the listeners close and what is under
way has `grace_s` to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Generator, Mapping
from typing import Any

import uvicorn
import uvloop

from headrace.open_inference.app import App
from headrace.open_inference.grpc_service import serve_grpc
from headrace.open_inference.http_protocol import BoundedProtocol
from headrace.open_inference.servable import Servable

#: Above the clients' own (60 s is usual), so that it is the client that closes an idle connection.
_KEEP_ALIVE_S = 75


class PortTaken(OSError):
    """The server cannot listen where it was told to; nothing was started."""


async def serve(
    app: App,
    servables: Mapping[str, Servable],
    *,
    host: str = "127.0.0.1",
    http_port: int = 8080,
    grpc_port: int | None = 8081,
    drain_s: float = 0.0,
    grace_s: float = 10.0,
) -> None:
    """Serve until a signal. Port 0 is any free port; no gRPC port means HTTP alone."""
    stop = _Stop()
    listener = _listener(host, http_port)
    with contextlib.closing(listener):
        grpc_server = None
        grpc_at = "off"
        if grpc_port is not None:
            _listener(host, grpc_port).close()  # a taken port is found here, where the reason can be told
            grpc_server = await serve_grpc(
                servables,
                f"{_in_url(host)}:{grpc_port}",
                gate=app.gate,
                max_body_bytes=app.max_body_bytes,
                name=app.about["name"],
                version=app.about["version"],
            )
            grpc_at = f"{_in_url(host)}:{grpc_server.headrace_port}"
        http_server = _HttpServer(_config(app, grace_s))
        running = asyncio.create_task(http_server.serve(sockets=[listener]))
        await asyncio.wait(
            (running, asyncio.create_task(http_server.bound.wait())), return_when=asyncio.FIRST_COMPLETED
        )
        if not running.done():
            http_at = f"{_in_url(host)}:{listener.getsockname()[1]}"
            sys.stdout.write(f"listening http={http_at} grpc={grpc_at}\n")
            sys.stdout.flush()
            await stop.drained(app, drain_s)
            http_server.should_exit = True
        await asyncio.gather(running, *([grpc_server.stop(grace_s)] if grpc_server else []))


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
    def __init__(self) -> None:
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self._second if self._first.is_set() else self._first).set()

    async def drained(self, app: App, drain_s: float) -> None:
        await self._first.wait()
        app.gate.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._second.wait()


class _HttpServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.bound = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.bound.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # signals end the gRPC server too, so `serve` listens for them


def _config(app: App, grace_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=2048,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as refused:
        if refused.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} on {host} is taken, needs a free one, or 0 for any: nothing was started"
            ) from None
        raise PortTaken(
            f"port {port} on {host} cannot be listened on ({refused.strerror}): nothing was started"
        ) from None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""The least an ASGI server can do: uvicorn on uvloop, read the body, answer with a small one."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
import uvloop

from benchmarks.processes import free_port

_BODY = b'{"outputs": []}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any request once its body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def serve(app: Any) -> None:
    """Serve an ASGI application on a free port until a signal."""
    port = free_port()
    print(f"listening http=127.0.0.1:{port} grpc=off", flush=True)
    config = uvicorn.Config(app, port=port, loop="none", lifespan="off", log_level="error", access_log=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    serve(echo)

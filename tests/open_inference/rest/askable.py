"""A model that can be asked without a task, and a server of it in the test's own loop whose direct way is on or off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import uvloop

from headrace.open_inference import InferRequest, InferResponse, NotReady, Tensor, make_app
from headrace.open_inference.admission import Admission
from headrace.open_inference.calls import Headers
from headrace.open_inference.rest.connections import Bounds, Connections
from headrace.open_inference.rest.direct import Direct
from headrace.open_inference.servable import Answered, settle
from headrace.open_inference.serving.accepting import Accepting
from headrace.open_inference.serving.listening import listener
from tests.open_inference.echo_server import Echo
from tests.open_inference.sockets import INFER

_ID = re.compile(rb"internal error, id [0-9a-f]{12}")


class Asked:
    """One question that is not answered yet."""

    def __init__(self, model: Answering, request: InferRequest, answered: Answered) -> None:
        self._model, self.request, self.answered = model, request, answered

    def cancel(self) -> None:
        self._model.cancelled.append(self.request.id)
        self.answered = lambda found: None

    def end(self, found: InferResponse | BaseException | None = None) -> None:
        self.answered(outcome_of(self.request) if found is None else found)


class Answering(Echo):
    """Answers its inputs, in the loop's next turn; an input's name may say that something else happens.

    `wait` is kept in `asked` until the test ends it. `infer` is `ask` with a future to wait for, so that both ways
    ask the same.
    """

    def __init__(self, name: str = "echo") -> None:
        super().__init__(name)
        self.asked: list[Asked] = []
        self.cancelled: list[str] = []
        self.waits = asyncio.Event()

    def ask(self, request: InferRequest, deadline: float, answered: Answered) -> Asked:
        if "refuse_at_once" in request.inputs:
            raise NotReady("the echo was never there")
        if "broken_at_once" in request.inputs:
            raise RuntimeError("it broke before it began")
        asked = Asked(self, request, answered)
        if "wait" in request.inputs:
            self.asked.append(asked)
            self.waits.set()
        else:
            asyncio.get_running_loop().call_soon(asked.end)
        return asked

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        answer: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        asked = self.ask(request, deadline, lambda found: settle(answer, found))
        try:
            return await answer
        except asyncio.CancelledError:
            asked.cancel()
            raise


class Chosen(Answering):
    """Says itself who is asked, of versions 1 and 2; of the second it cannot."""

    def __init__(self, name: str = "echo") -> None:
        super().__init__(name)
        self.versions = ("1", "2")

    def at(self, version: str) -> Chosen:
        """Return who is asked."""
        if version == "2":
            raise NotReady("the second is not there yet")
        return self


class AskedOnly(Answering):
    """Answers who asks it without a task, and nobody else."""

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        raise NotReady("it was asked the other way")


class Exchanged(AskedOnly):
    """Another one serves in its place."""

    def at(self, version: str) -> AskedOnly:
        """Return who serves now."""
        return AskedOnly()


class Silent:
    """Watches a request and keeps nothing of it."""

    def __init__(self, headers: Headers) -> None:
        self.id, self.instead = "", dict[bytes, bytes]()
        self.answer: Headers = ()

    def ended(self, status: int) -> None:
        """Keep nothing of it."""


def outcome_of(request: InferRequest) -> InferResponse | BaseException:
    """Return what this model answers."""
    if "refuse" in request.inputs:
        return NotReady("the echo is gone")
    if "broken" in request.inputs:
        return RuntimeError(f"no idea what to do with {request.inputs['broken'].array}")
    if "stopped" in request.inputs:
        return asyncio.CancelledError()
    outputs = list(request.inputs.values())
    if "nan" in request.inputs:
        outputs = [Tensor.of("score", [1.0, np.nan])]
    if "many" in request.inputs:
        outputs = [Tensor.of("score", np.arange(20_000.0))]
    headers = {"headers": ",".join(f"{name}={value}" for name, value in request.headers.items())}
    return InferResponse(request.model, request.version or "1", request.id, outputs, headers if request.headers else {})


class Server:
    """What there is of a server that runs, and what was told of it."""

    def __init__(self, model: Answering, *, direct: bool, bounds: Bounds | None = None, **made: Any) -> None:
        self.model = model
        self.told: list[tuple[str, int]] = []
        self.refused: list[tuple[str, str]] = []
        app = make_app(
            {model.name: model},
            observe=lambda name, status, seconds: self.told.append((name, status)),
            max_body_bytes=1 << 20,
            forward=["x-trace"],
            **made,
        )
        self.gate = app.gate
        self.gate.refused = lambda name, why, seconds: self.refused.append((name, type(why).__name__))
        self.connections = Connections(app, Admission(self.gate.max_in_flight), bounds or Bounds())
        self.connections.direct = Direct(self.gate) if direct else None
        self.port = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many requests were answered and refused, and their rows, as Triton's statistics say it."""
        told = self.gate.statistics.told({self.model.name: self.model}, "1")[0]
        stats = told["inference_stats"]
        return {
            "rows": told["inference_count"],
            "answered": stats["success"]["count"],
            "refused": stats["fail"]["count"],
        }

    @property
    def under_way(self) -> tuple[int, int, int]:
        """What is under way at the gate, in the admission and under the alarm."""
        return self.gate.in_flight, self.connections.admission.pending, len(self.gate.alarm._waiting)

    async def until(self, found: Callable[[], bool], turns: int = 20_000) -> None:
        """Let the loop turn until it is so."""
        for _ in range(turns):
            if found():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"after {turns} turns it is not so: {self.under_way}, {self.told}")

    async def said(self, *pieces: bytes, answers: int | None = None) -> bytes:
        """Send pieces and return what is said until the server hangs up, or until there are so many answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
        said = b""
        try:
            async with asyncio.timeout(20):
                while answers is None or len(answers_in(said)) < answers:
                    part = await reader.read(1 << 16)
                    if not part:
                        break
                    said += part
        finally:
            writer.transport.abort()
        return said


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """Listen on a free port of loopback; in the end no connection and no request is left."""
    http = listener("127.0.0.1", 0)
    server.port = http.getsockname()[1]
    accepting = Accepting(http, server.connections, None)
    accepting.begin()
    try:
        yield server
    finally:
        accepting.end()
        for connection in list(server.connections.open):
            connection.abort()
    await server.until(lambda: not server.connections.open and server.under_way == (0, 0, 0))
    assert server.connections.app.gate.held.size == 0


def played(
    scene: Callable[[Server], Awaitable[Any]],
    *,
    direct: bool = True,
    name: str = "echo",
    kind: type[Answering] = Answering,
    **made: Any,
) -> Any:
    """Return what a scene with a running server gives, in the kind of loop that serves."""

    async def play() -> Any:
        async with serving(Server(kind(name), direct=direct, **made)) as server:
            return await scene(server)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(play())


def answers_in(said: bytes) -> list[tuple[bytes, bytes]]:
    """Cut what was said into whole answers: head and body of each."""
    answers = []
    while b"\r\n\r\n" in said:
        head, _, rest = said.partition(b"\r\n\r\n")
        found = re.search(rb"\r\ncontent-length: (\d+)", head)
        length = int(found[1]) if found and not head.startswith(b"HTTP/1.1 100 ") else 0
        if len(rest) < length:
            break
        answers.append((head, rest[:length]))
        said = rest[length:]
    return answers


def without_ids(said: bytes) -> bytes:
    """Leave out the ids of faults, which are random."""
    return _ID.sub(b"internal error, id " + b"?" * 12, said)


def tensors(*names: str, request: str = "", more: str = "") -> bytes:
    """Return a JSON request of one value for each of these inputs; `request` is its id."""
    inputs = ",".join(f'{{"name":"{name}","shape":[1],"datatype":"FP64","data":[1.5]}}' for name in names)
    named = f'"id":"{request}",' if request else ""
    return f'{{{named}"inputs":[{inputs}]{more}}}'.encode()


def sent(
    body: bytes, *headers: str, path: str = INFER, method: str = "POST", version: str = "1.1", last: bool = True
) -> bytes:
    """Return a request; `last` is whether it says that it is the connection's last."""
    head = [f"{method} {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers]
    ending: Iterable[str] = ["connection: close"] if last else []
    return "\r\n".join([*head, *ending, "", ""]).encode() + body

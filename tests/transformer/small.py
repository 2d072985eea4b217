"""A small application, its memory store, and a real v2 server in the test's own loop as its predictor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn

from headrace.application import Application, Output
from headrace.features import HOUR, MINUTE, Column, FeatureView, OnDemand, Window, WindowedGroup
from headrace.features.comparisons import ratio
from headrace.features.streams import Stream
from headrace.open_inference import InferRequest, InferResponse, Tensor, make_app
from headrace.open_inference.client.model_client import PredictorClient
from headrace.stores.memory import MemoryStore
from headrace.stores.online import OnlineStore
from headrace.telemetry import RequestMetrics
from tests.stores.small import Given, add
from transformer.asking import ALWAYS
from transformer.request_path import RequestPath

NOW = 1_700_000_000_000

USERS = WindowedGroup(
    "users",
    1,
    "clicks",
    "user",
    "at",
    "amount",
    ("count", "sum"),
    (Window("1h", HOUR, tile_ms=5 * MINUTE),),
    missing=-1.0,
)
CLICKS = Stream("clicks", (Column("user", "string"), Column("at", "timestamp"), Column("amount")), time="at")
REQUEST = (
    Column("user", "string"),
    Column("at", "timestamp", required=False),
    Column("amount", low=0, high=1000, missing=-1.0),
    Column("visits", "int64", required=False, missing=-1.0),
    Column("member", "bool", low=0, high=1, required=False, missing=-1.0),
    Column("seen", "timestamp", required=False),
    Column("note", "string", required=False),
)
SHARE = OnDemand("amount_share", ratio, ("request.amount", "users.amount_sum_1h"), missing=-1.0)
VIEW = FeatureView(
    "small",
    1,
    REQUEST,
    (USERS,),
    ("request.amount", "request.visits", "request.member", "users.amount_count_1h", "users.amount_sum_1h", SHARE),
    time="at",
)
APP = Application("small", VIEW, (CLICKS,), (Output("score"),))


def stored(events: Sequence[Given]) -> MemoryStore:
    """Return a store that holds these events: user, instant, amount."""
    store = MemoryStore()
    store.declare((USERS,))
    with store.transaction("clicks", {"0": 0}) as change:
        add(change, USERS, events)
        change.advance({"0": len(events)})
    return store


def row(**changed: Any) -> dict[str, Tensor]:
    """Return a request for one row; values may be lists, None leaves a column out."""
    given: dict[str, Any] = {"user": "ann", "at": NOW, "amount": 10.0} | changed
    return {
        n: v if isinstance(v, Tensor) else Tensor.of(n, np.atleast_1d(v)) for n, v in given.items() if v is not None
    }


Answer = Callable[[np.ndarray], Mapping[str, np.ndarray] | Awaitable[Mapping[str, np.ndarray]]]


def summed(features: np.ndarray) -> dict[str, np.ndarray]:
    """Score a row by the sum of its features."""
    return {"score": features.sum(axis=1, dtype=np.float32)}


@dataclass
class Tiny:
    """A model that answers what it is told to, and remembers what it was asked."""

    answer: Answer = summed
    parameters: Any = field(default_factory=lambda: {"headrace_fingerprint": {"string_value": VIEW.fingerprint}})
    reason: str | None = None
    input_shape: tuple[int, ...] = (-1, len(VIEW.names))
    name: str = "small"
    versions: tuple[str, ...] = ()
    asked: list[np.ndarray] = field(default_factory=list)
    largest: int = 0
    headers: list[Mapping[str, str]] = field(default_factory=list)
    version: str = ""
    outputs: tuple[str, ...] = ()

    def readiness(self) -> str | None:
        return self.reason

    def metadata(self) -> dict[str, Any]:
        inputs = [{"name": "features", "datatype": "FP32", "shape": list(self.input_shape)}]
        outputs = [{"name": name, "datatype": "FP32", "shape": [-1]} for name in self.outputs]
        return {"name": self.name, "versions": [], "platform": "tiny", "inputs": inputs, "outputs": outputs}

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "max_batch_size": self.largest, "parameters": self.parameters}

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        self.asked.append(request.inputs["features"].array)
        self.headers.append(request.headers)
        given = self.answer(self.asked[-1])
        if not isinstance(given, Mapping):
            given = await given
        outputs = [Tensor.of(name, values) for name, values in given.items()]
        # What was asked for and is not there would be refused: a server that leaves it out is what is wanted here.
        request.outputs = ()
        return InferResponse(self.name, self.version, request.id, outputs)


@asynccontextmanager
async def served(model: Tiny) -> AsyncIterator[str]:
    """Serve a model over HTTP on a free port of loopback; give its URL."""
    config = uvicorn.Config(
        make_app({model.name: model}, forward=ALWAYS), lifespan="off", log_config=None, interface="asgi3"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def path_to(
    model: Tiny, store: OnlineStore, app: Application = APP, now: int = NOW, max_rows: int = 1000
) -> AsyncIterator[RequestPath]:
    """Give an application's request path whose predictor is a served model."""
    groups = tuple(group.name for group in app.groups)
    async with served(model) as url, PredictorClient(url, model.name) as predictor:
        yield RequestPath(app, store, predictor, RequestMetrics(app.name, groups), clock=lambda: now, max_rows=max_rows)

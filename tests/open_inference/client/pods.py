"""Predictors planted on several addresses of loopback, all at one port as pods are, each with a fault or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from headrace.cli.broker import free_port
from headrace.open_inference import InferResponse, Tensor
from headrace.open_inference.client.model_client import Asking, PredictorClient

ANSWER = b'{"model_name": "m", "outputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [2.5]}]}'
#: What a pod does with a request: an answer's bytes, or None for hanging up. A lone b"" is never answering.
Act = Callable[[], bytes | None]


def http(status: int, body: bytes, *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def right() -> bytes:
    """Answer."""
    return http(200, ANSWER)


def away() -> bytes:
    """Say 503."""
    return http(503, b'{"error": "not yet"}')


def full() -> bytes:
    """Say 429."""
    return http(429, b'{"error": "no room"}')


def broken() -> bytes:
    """Say 500, as Triton does when its GPU is lost."""
    return http(500, b'{"error": "CUDA error: device lost"}')


def cut() -> bytes:
    """Answer but for the end."""
    return right()[:-9]


def dead() -> None:
    """Hang up without an answer."""


def hung() -> bytes:
    """Never answer."""
    return b""


@dataclass
class Pod:
    """One predictor: what it does, and the heads of the requests it was sent."""

    address: str
    act: Act = right
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def asked(self) -> int:
        """How many requests it was sent."""
        return len(self.heads)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            self.serving.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        said = head.lower()
        if b"\r\ncontent-length: " in said:
            await reader.readexactly(int(said.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
        self.heads.append(head)
        self.reached.set()
        answer = self.act()
        if answer is None:
            return False
        if not answer:
            await reader.read()
            return False
        writer.write(answer)
        return self.act is not cut


@dataclass
class Deployment:
    """Pods behind one name, and a client of them."""

    pods: list[Pod]
    client: PredictorClient
    listed: list[str]

    async def infer(self, left_s: float = 10.0, **given: object) -> InferResponse:
        """Ask once."""
        deadline = asyncio.get_running_loop().time() + left_s
        return await self.client.infer([Tensor.of("a", [1.5])], deadline=deadline, **given)  # type: ignore[arg-type]

    @property
    def asked(self) -> list[int]:
        """How many requests each pod was sent."""
        return [pod.asked for pod in self.pods]


@asynccontextmanager
async def deployed(*acts: Act | None, **how: object) -> AsyncIterator[Deployment]:
    """Give pods that act so, None being one that nobody runs; the first is asked first."""
    port = free_port()
    pods = [Pod(f"127.0.0.{number}", act or right) for number, act in enumerate(acts, 1)]
    servers = [
        await asyncio.start_server(pod.serve, pod.address, port)
        for pod, act in zip(pods, acts, strict=True)
        if act is not None
    ]
    listed = [pods[-1].address, *(pod.address for pod in pods[:-1])]  # the turn begins with the second

    async def resolve(host: str, port: int) -> Sequence[str]:
        return list(listed)

    client = PredictorClient(f"http://pods:{port}", "m", how=Asking(resolve=resolve, **how))  # type: ignore[arg-type]
    try:
        async with client:
            yield Deployment(pods, client, listed)
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(task for pod in pods for task in pod.serving))

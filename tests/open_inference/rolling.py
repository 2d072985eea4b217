"""Servers that follow one another under load, as in a rolling update: every request is counted that is not answered.

As a program it does so many times over, with the echo or with a whole transformer before a predictor:

    python -m tests.open_inference.rolling --times 100 --of transformer

A new server is started and waited for; then the old one gets SIGTERM. Callers go on asking it until it says that it is
not ready, which is when a Service would take it from its endpoints, and on connections they have until they are told
to leave. Some ask without a pause, some now and then, so that connections are busy and idle; some over gRPC.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import grpc
import grpc.aio

from headrace.open_inference.grpc.messages import INFERENCE
from tests.open_inference.live import started
from tests.open_inference.sockets import AMOUNT, post

ASK = "/inference.GRPCInferenceService/ModelInfer"
DRAIN_S = "0.5"


@dataclass
class One:
    """A running server."""

    process: Popen[Any]
    http: str
    grpc: str


@dataclass
class Traffic:
    """Callers of whatever server is current, and what became of their requests."""

    request: bytes
    message: bytes
    current: One
    said: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    over: bool = False

    async def call(self, pause_s: float) -> None:
        """Ask over one kept-alive connection after another."""
        while not self.over:
            host, _, port = self.current.http.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            while not self.over and not reader.at_eof() and await self._asked(reader, writer):
                await pause(pause_s)
            writer.close()

    async def call_grpc(self) -> None:
        """Ask over gRPC, over a channel as long as its server is current."""
        while not self.over:
            of = self.current
            async with grpc.aio.insecure_channel(of.grpc) as channel:
                ask = channel.unary_unary(ASK)
                while self.current is of and not self.over:
                    try:
                        await ask(self.message, timeout=20)
                        self.said["grpc"] += 1
                    except grpc.aio.AioRpcError as refused:
                        self.failed.append(f"gRPC {refused.code().name}: {refused.details()}")

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        except (OSError, asyncio.IncompleteReadError) as broken:
            self.failed.append(f"HTTP {type(broken).__name__}")
            return False
        status = head.split()[1].decode()
        self.said[status] += 1
        if status != "200":
            self.failed.append(f"HTTP {status}: {body.decode()}")
        return b"connection: close" not in head


async def roll(start: Callable[[], One], times: int, request: bytes, message: bytes) -> Traffic:
    """Replace the server so many times under load; return what became of every request."""
    now = start()
    traffic = Traffic(request, message, now)
    callers = [asyncio.create_task(traffic.call(pause_s)) for pause_s in (0, 0, 0, 0.003, 0.05, 0.2)]
    callers += [asyncio.create_task(traffic.call_grpc()) for _ in range(2)]
    for turn in range(times):
        following = await asyncio.to_thread(start)
        before = traffic.said.total()
        now.process.terminate()
        while await _ready(now.http):
            await pause(0.01)
        traffic.current = following
        code = await asyncio.to_thread(now.process.wait, 30)
        if code:
            traffic.failed.append(f"exit code {code}")
        while traffic.said.total() < before + 100 and not traffic.failed:
            await pause(0.01)
        now = following
        if (turn + 1) % 10 == 0:
            print(f"{turn + 1} of {times}: {traffic.said.total()} answered, {len(traffic.failed)} failed", flush=True)
    traffic.over = True
    await asyncio.gather(*callers)
    now.process.terminate()
    await asyncio.to_thread(now.process.wait, 30)
    return traffic


async def pause(seconds: float) -> None:
    """Let others go on for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


async def _ready(http: str) -> bool:
    host, _, port = http.partition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        said = await reader.read()
        writer.close()
    except OSError:
        return False
    return said.startswith(b"HTTP/1.1 200")


def echo() -> One:
    """Start an echo server."""
    live = started("--drain-s", DRAIN_S, "--deadline-s", "20")
    return One(live.process, live.http, live.grpc)


def amount() -> bytes:
    """Return a request of the echo's as a message."""
    message = INFERENCE["ModelInferRequest"](model_name="echo")
    message.inputs.add(name="amount", datatype="FP64", shape=[1]).contents.fp64_contents.append(1.5)
    return message.SerializeToString()


@contextmanager
def transformers() -> Iterator[tuple[Callable[[], One], bytes, bytes]]:
    """Give what starts a transformer before a predictor that stays, and a request for it over each door."""
    from benchmarks.ground import TINY, Ground
    from benchmarks.serving import requests, tensors
    from headrace.cli.stack import server, wait_ready

    with tempfile.TemporaryDirectory() as home, ExitStack() as open_now:
        ground, logs = Ground(Path(home), TINY), Path(home)
        models = ["--repository", str(ground.models), "--model", ground.app.name]
        predictor = open_now.enter_context(server("predictor", [*models, "--http-port", "0", "--grpc-port", "0"], logs))
        flags = ["--store", str(ground.store), "--predictor_host", predictor.http, "--drain_s", DRAIN_S]
        flags += ["--http_port", "0", "--grpc_port", "0", "--deadline_ms", "20000"]

        def start() -> One:
            found = open_now.enter_context(
                server("transformer", flags, logs, f"transformer-{len(list(logs.iterdir()))}")
            )
            wait_ready(found)
            return One(found.process, found.http, found.grpc)

        message = INFERENCE["ModelInferRequest"](model_name=ground.app.name)
        for name, tensor in tensors(ground, 1, 0).items():
            message.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.array.shape)
            message.raw_input_contents.append(tensor.array.tobytes())
        yield start, requests(ground, 1, count=1)[0], message.SerializeToString()


def main() -> int:
    """Roll as the flags say; print what became of the requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--of", choices=("echo", "transformer"), default="echo")
    given = parser.parse_args()
    with ExitStack() as open_now:
        start, request, message = echo, post(AMOUNT), amount()
        if given.of == "transformer":
            start, request, message = open_now.enter_context(transformers())
        traffic = asyncio.run(roll(start, given.times, request, message))
    print(f"{given.times} times SIGTERM: {traffic.said.total()} answered, {len(traffic.failed)} failed")
    for failed, times in Counter(traffic.failed).items():
        print(f"  {times} times: {failed}")
    return int(bool(traffic.failed))


if __name__ == "__main__":
    sys.exit(main())

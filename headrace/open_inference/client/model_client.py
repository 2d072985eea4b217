"""A client of one model: at any of a server's endpoints, over HTTP or gRPC, with one deadline per call.

A call that an endpoint could not answer is asked once more, of another one, inside the same deadline and as long as
such second attempts are a small share of all: inference has no effects, so it may be.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from headrace.http.connection import LONGEST_ANSWER
from headrace.open_inference.alarms import Alarm
from headrace.open_inference.client.channel import Channel, Retriable, Site, late
from headrace.open_inference.client.endpoints import REFRESH_S, STRIKES, Endpoint, Endpoints, Resolve, resolved
from headrace.open_inference.client.http import HttpChannel
from headrace.open_inference.client.retries import RetryBudget
from headrace.open_inference.errors import DeadlinePassed, OpenInferenceError, PredictorFailed
from headrace.open_inference.predictor import NO_HEADERS
from headrace.open_inference.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

#: How long questions about the model may take, and inference without a deadline of its own.
_ASK_S = 5.0
PROTOCOLS = ("v2", "grpc-v2")
Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a server is asked: over which protocol, how often its name is resolved, what is tried again.

    `ca_file` holds the authorities, in PEM, that its certificate is checked by; the system's where it is empty.
    `retries` is the share of requests that may be asked a second time, `longest` how many bytes of an answer are read.
    """

    protocol: str = "v2"
    ca_file: str = ""
    refresh_s: float = REFRESH_S
    retries: float = 0.1
    longest: int = LONGEST_ANSWER
    resolve: Resolve = resolved


class PredictorClient:
    """Asks one model of a v2 server, such as Triton or our own predictor.

    Failures are the errors of this package: NotReady when no endpoint can be reached or one says
    503, Overloaded when it says 429 or that it has no room, DeadlinePassed when it is late, PredictorFailed
    for any other error and for an answer that is none.
    """

    def __init__(self, url: str, model: str, *, version: str = "", how: Asking | None = None) -> None:
        """`url` is the server's, such as http://127.0.0.1:8080; ValueError for one that cannot be asked."""
        how = how or Asking()
        self.model, self.version = model, version
        self.site = _site(url, how)
        self.budget = RetryBudget(how.retries)
        channel = _channel_of(how.protocol)
        self.endpoints = Endpoints(
            self.site.host,
            self.site.port,
            lambda address: channel(address, self.site),
            resolve=how.resolve,
            refresh_s=how.refresh_s,
        )
        self._alarm = Alarm()
        self.most_rows, self.unready = 0, ""
        self._failed, self._why = 0, ""

    async def __aenter__(self) -> PredictorClient:
        """Return the client, which closes at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    @property
    def failing(self) -> str | None:
        """Why no inference succeeds, None where the last ones did not fail one and all."""
        return self._why if self._failed >= STRIKES else None

    def ask_version(self, version: str) -> None:
        """Ask this version of the model from now on; an empty one is the server's own choice."""
        self.version = version

    async def infer(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[str] = (),
        deadline: float | None = None,
        request_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> InferResponse:
        """Ask the model until the deadline, an instant of the loop's clock; the headers go with the request."""
        asked = tuple([RequestedOutput(name, True) for name in outputs])
        tensors = {tensor.name: tensor for tensor in inputs}
        request = InferRequest(self.model, self.version, request_id, tensors, asked, headers=headers)
        self.budget.earn()
        try:
            answer = await self._asked(lambda channel, until: channel.infer(request, until), deadline, judged=True)
        except PredictorFailed as failed:
            self._failed, self._why = self._failed + 1, failed.message
            raise
        self._failed = 0
        return answer

    async def metadata(self) -> dict[str, Any]:
        """Return the metadata of the version that is asked."""
        return await self._asked(lambda channel, until: channel.metadata(self.model, self.version, until))

    async def config(self) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's: one for all of its versions."""
        config = await self._asked(lambda channel, until: channel.config(self.model, until))
        most = config.get("max_batch_size")
        self.most_rows = most if isinstance(most, int) else 0
        return config

    async def ready(self, version: str = "") -> bool:
        """Tell whether a version, or that of the server's choice, is ready; False where no endpoint says so."""
        self.unready = ""
        try:
            return await self._asked(lambda channel, until: channel.ready(self.model, version, until))
        except OpenInferenceError as refused:
            self.unready = refused.message
            return False

    async def close(self) -> None:
        """Close the connections; the client can be used again and opens new ones."""
        await self.endpoints.close()

    async def _asked(
        self, ask: Callable[[Channel, float], Awaitable[Said]], deadline: float | None = None, *, judged: bool = False
    ) -> Said:
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = now + _ASK_S if deadline is None else deadline
        if until <= now:
            raise late(self.model)
        endpoint = None
        try:
            with self._alarm.until(until):
                endpoint = await self.endpoints.chosen(now)
                try:
                    said = await self._once(endpoint, ask, until)
                except Retriable as failed:
                    endpoint = self._second(endpoint, failed, loop.time())
                    said = await self._again(endpoint, ask, until)
        except TimeoutError:
            self._struck(endpoint, judged)
            raise late(self.model) from None
        except (DeadlinePassed, PredictorFailed):
            self._struck(endpoint, judged)
            raise
        except asyncio.CancelledError:
            self._struck(endpoint, judged and loop.time() >= until)  # the caller has the same deadline
            raise
        # An answer about the model is none of the model's: one whose GPU is lost gives it, too.
        if judged and (endpoint.failures or endpoint.strikes):
            endpoint.succeeded()
        return said

    async def _once(self, endpoint: Endpoint, ask: Callable[[Channel, float], Awaitable[Said]], until: float) -> Said:
        endpoint.outstanding += 1
        try:
            return await ask(endpoint.channel, until)
        finally:
            endpoint.outstanding -= 1

    async def _again(self, endpoint: Endpoint, ask: Callable[[Channel, float], Awaitable[Said]], until: float) -> Said:
        try:
            return await self._once(endpoint, ask, until)
        except Retriable as again:
            self.endpoints.failed(endpoint, asyncio.get_running_loop().time())
            raise again.error from again.__cause__

    def _struck(self, endpoint: Endpoint | None, judged: bool) -> None:
        if endpoint is not None and judged:
            self.endpoints.struck(endpoint, asyncio.get_running_loop().time())

    def _second(self, endpoint: Endpoint, failed: Retriable, now: float) -> Endpoint:
        self.endpoints.failed(endpoint, now)
        other = self.endpoints.another(endpoint, now, same=failed.same)
        if other is None or not self.budget.spend():
            raise failed.error from failed.__cause__
        return other


def _site(url: str, how: Asking) -> Site:
    if how.protocol not in PROTOCOLS:
        raise ValueError(f"the predictor's protocol is {how.protocol!r}, needs {' or '.join(PROTOCOLS)}")
    said = urlsplit(url)
    if said.scheme not in ("http", "https") or not said.hostname or said.path.rstrip("/") or said.username:
        raise ValueError(f"the predictor's address is {url!r}, needs a host, a host and port, or a URL of these")
    try:
        port = said.port
        said.hostname.encode("idna")  # UnicodeError is a ValueError
        authorities = Path(how.ca_file).read_bytes() if how.ca_file else None
        tls = ssl.create_default_context(cafile=how.ca_file or None) if said.scheme == "https" else None
    except (OSError, ValueError) as wrong:  # ssl.SSLError is the first
        raise ValueError(f"the predictor at {url!r} cannot be asked: {wrong}") from wrong
    return Site(said.hostname, port or (443 if tls else 80), tls, authorities, how.longest)


def _channel_of(protocol: str) -> Callable[[str, Site], Channel]:
    if protocol == "v2":
        return HttpChannel
    from headrace.open_inference.client.grpc import GrpcChannel  # what it needs takes a while to load

    return GrpcChannel

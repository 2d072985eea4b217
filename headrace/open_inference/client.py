"""A client of one model over HTTP: kept-alive connections, binary tensors, one deadline per call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from headrace.open_inference.codec import decode_response, encode_request
from headrace.open_inference.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
)
from headrace.open_inference.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

_LENGTH = "Inference-Header-Content-Length"
_DEADLINE = "headrace-deadline-ms"
#: Below the servers' own, so that a connection is not taken up in the moment the server closes it.
_KEEP_ALIVE_S = 30.0
#: How long questions about the model may take; inference has its own deadline.
_ASK_S = 5.0
#: How Triton, which is ready all the same, refuses with a 503 what its queue has no room or no time for.
_NO_ROOM = ("Exceeds maximum queue size", "Request timeout expired")


class PredictorClient:
    """Asks one model of a v2 server, such as Triton or our own predictor.

    Failures are the errors of this package: NotReady when the server cannot be reached or says
    503, Overloaded when it says 429 or that it has no room, DeadlinePassed when it is late, PredictorFailed
    for any other error and for an answer that is none. A connection that breaks is tried once more.
    """

    def __init__(self, url: str, model: str, *, version: str = "", connections: int = 0) -> None:
        """`url` is the server's, such as http://127.0.0.1:8080; 0 connections means no bound."""
        self.model = model
        self._model = f"{url.rstrip('/')}/v2/models/{model}"
        self.ask_version(version)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> PredictorClient:
        """Return the client, which closes at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    def ask_version(self, version: str) -> None:
        """Ask this version of the model from now on; an empty one is the server's own choice."""
        self.version = version
        self._path = self._path_of(version)

    async def infer(
        self, inputs: Sequence[Tensor], outputs: Sequence[str] = (), deadline: float | None = None, request_id: str = ""
    ) -> InferResponse:
        """Ask the model until the deadline, an instant of the loop's clock."""
        asked = tuple(RequestedOutput(name, True) for name in outputs)
        request = InferRequest(self.model, self.version, request_id, {tensor.name: tensor for tensor in inputs}, asked)
        body, length = encode_request(request)
        headers = {"Content-Type": "application/octet-stream", _LENGTH: str(length)}
        answer, answer_length = await self._call("POST", self._path + "/infer", body, headers, deadline)
        try:
            return decode_response(answer, answer_length)
        except InvalidRequest as wrong:
            raise PredictorFailed(f"the predictor of {self.model!r} gave no answer: {wrong.message}") from wrong

    async def metadata(self) -> dict[str, Any]:
        """Return the metadata of the version that is asked."""
        return await self._ask(self._path)

    async def config(self) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's: one for all of its versions."""
        return await self._ask(self._model + "/config")

    async def ready(self, version: str = "") -> bool:
        """Tell whether a version, or that of the server's choice, is ready; False where the server is not reached."""
        try:
            await self._call("GET", self._path_of(version) + "/ready", None, {}, None)
        except OpenInferenceError:
            return False
        return True

    async def close(self) -> None:
        """Close the connections; the client can be used again and opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, path: str) -> dict[str, Any]:
        body, _ = await self._call("GET", path, None, {}, None)
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise PredictorFailed(f"the predictor of {self.model!r} answered no JSON object about its model")
        return found

    def _path_of(self, version: str) -> str:
        return f"{self._model}/versions/{version}" if version else self._model

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float | None
    ) -> tuple[bytes, int | None]:
        now = asyncio.get_running_loop().time()
        left = _ASK_S if deadline is None else deadline - now
        if left <= 0:
            raise self._late()
        headers[_DEADLINE] = f"{left * 1000:.3f}"
        try:
            async with asyncio.timeout_at(now + left):
                return await self._sent(method, path, body, headers)
        except TimeoutError:
            raise self._late() from None

    async def _sent(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[bytes, int | None]:
        try:
            return await self._once(method, path, body, headers)
        except aiohttp.ClientConnectorError as gone:
            raise self._unreachable() from gone
        except aiohttp.ClientConnectionError:
            # The server closed a kept-alive connection while it was taken up. Inference has no
            # effects, so it may be asked again; the deadline still covers both.
            try:
                return await self._once(method, path, body, headers)
            except aiohttp.ClientConnectionError as gone:
                raise self._unreachable() from gone
        except aiohttp.ClientError as broken:
            raise PredictorFailed(f"the predictor of {self.model!r} broke off its answer") from broken

    async def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[bytes, int | None]:
        session = self._session or self._opened()
        async with session.request(method, path, data=body, headers=headers) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise self._refused(answer.status, content)
            length = answer.headers.get(_LENGTH)
            return content, int(length) if length is not None and length.isdigit() else None

    def _opened(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        return self._session

    def _refused(self, status: int, content: bytes) -> OpenInferenceError:
        reason = f"the predictor of {self.model!r} said {status}: {_reason(content)}"
        match status:
            case 429:
                return Overloaded(reason)
            case 503 if any(said in reason for said in _NO_ROOM):
                return Overloaded(reason)
            case 503:
                return NotReady(reason)
            case 504:
                return DeadlinePassed(reason)
        return PredictorFailed(reason)

    def _late(self) -> DeadlinePassed:
        return DeadlinePassed(f"the predictor of {self.model!r} had no answer when the request's deadline passed")

    def _unreachable(self) -> NotReady:
        return NotReady(f"the predictor of {self.model!r} cannot be reached, needs a listening server: try later")


def _reason(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return "no reason given"
    said = found.get("error") if isinstance(found, dict) else None
    return said[:300] if isinstance(said, str) else "no reason given"

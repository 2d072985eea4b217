"""Asking one endpoint over HTTP: kept-alive connections, binary tensors, heads of requests written once."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import orjson

from headrace.http.connection import Answer, BrokenOff, NotHTTP, TooLong, Unanswered
from headrace.http.pool import Pool
from headrace.open_inference.client.channel import (
    CLOSED,
    Site,
    broken_off,
    cause_of,
    no_answer,
    refused,
    too_long,
    unreachable,
    untrusted,
)
from headrace.open_inference.client.heads import Heads
from headrace.open_inference.errors import InvalidRequest, PredictorFailed
from headrace.open_inference.tensors import InferRequest, InferResponse

#: Below the servers' own, so that a connection is not taken up in the moment the server closes it.
_KEEP_ALIVE_S = 30.0
#: Behind one address there may be many servers: none is asked for ever, and new ones are.
_OLD_S = 120.0
#: The most of the time left that opening a connection may take: the rest is for another endpoint.
_TO_CONNECT = 0.5


class HttpChannel:
    """A Channel over HTTP/1.1 to one address of a site."""

    def __init__(self, address: str, site: Site) -> None:
        self._pool = Pool(
            address, site.port, site.tls, site.host, idle_s=_KEEP_ALIVE_S, age_s=_OLD_S, longest=site.longest
        )
        self.alone = True
        self._host = str(site)
        self._json = Heads()
        self._heads: dict[tuple[str, str], str] = {}

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Ask a model; the request's headers go with it."""
        body, length = self._json.encode(request)
        key = request.model, request.version
        head = self._heads.get(key) or self._heads.setdefault(key, self._head("POST", *key, "/infer"))
        left = deadline - asyncio.get_running_loop().time()
        lines = f"{head}Content-Length: {len(body)}\r\nInference-Header-Content-Length: {length}\r\n{_until(left)}"
        for name, value in request.headers.items():
            if value.isprintable():  # nothing that could begin another header
                lines += f"{name}: {value}\r\n"
        answer = await self._answer(request.model, (lines + "\r\n").encode("latin-1", "replace") + body, left)
        json_length = _json_length(request.model, answer)
        try:
            return self._json.decode(answer.body, json_length)
        except InvalidRequest as wrong:
            raise no_answer(request.model, wrong) from wrong

    async def metadata(self, model: str, version: str, deadline: float) -> dict[str, Any]:
        """Return a version's metadata."""
        return await self._told(model, version, "", deadline)

    async def config(self, model: str, deadline: float) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's."""
        return await self._told(model, "", "/config", deadline)

    async def ready(self, model: str, version: str, deadline: float) -> bool:
        """Tell whether a version is ready: the status says it."""
        await self._asked(model, version, "/ready", deadline)
        return True

    def retire(self) -> None:
        """Keep no connection; requests under way are answered."""
        self._pool.retire()

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    async def _told(self, model: str, version: str, what: str, deadline: float) -> dict[str, Any]:
        answer = await self._asked(model, version, what, deadline)
        try:
            found = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise PredictorFailed(f"the predictor of {model!r} answered no JSON object about its model")
        return found

    async def _asked(self, model: str, version: str, what: str, deadline: float) -> Answer:
        left = deadline - asyncio.get_running_loop().time()
        request = f"{self._head('GET', model, version, what)}{_until(left)}\r\n"
        return await self._answer(model, request.encode(), left)

    async def _answer(self, model: str, request: bytes, left: float) -> Answer:
        try:
            answer = await self._pool.ask(request, None if self.alone else left * _TO_CONNECT)
        except BrokenOff as broken:
            if isinstance(broken, TooLong):
                raise too_long(model, self._pool.longest) from None
            raise broken_off(model) from None
        except NotHTTP:
            raise PredictorFailed(f"the predictor of {model!r} did not answer in HTTP, needs a v2 server") from None
        except Unanswered:
            raise unreachable(model, CLOSED, same=True) from None
        except ssl.SSLCertVerificationError as foreign:
            raise untrusted(model, foreign.verify_message) from None
        except OSError as gone:  # of which a connection that took too long is one
            raise unreachable(model, cause_of(gone)) from gone
        if answer.status != 200:
            raise refused(model, answer.status, _reason(answer.body))
        return answer

    def _head(self, method: str, model: str, version: str, what: str) -> str:
        path = f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"
        said = "Content-Type: application/octet-stream\r\n" if method == "POST" else ""
        return f"{method} {path}{what} HTTP/1.1\r\nHost: {self._host}\r\n{said}"


def _json_length(model: str, answer: Answer) -> int | None:
    length = None
    for name, value in answer.headers:
        match name.lower():
            case b"inference-header-content-length":
                if not value.isdigit() or len(value) > 18:
                    raise PredictorFailed(f"the predictor of {model!r} told no number as the length of its JSON part")
                length = int(value)
            case b"content-encoding" if value.lower() != b"identity":
                raise PredictorFailed(f"the predictor of {model!r} packed its answer, needs it as it is")
    return length


def _until(left: float) -> str:
    return f"headrace-deadline-ms: {left * 1e3:.3f}\r\n"


def _reason(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    said = found.get("error") if isinstance(found, dict) else None
    return said if isinstance(said, str) else ""

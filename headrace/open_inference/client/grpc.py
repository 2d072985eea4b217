"""Asking one endpoint over gRPC: one HTTP/2 connection, raw contents, our own messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from headrace.open_inference.client.channel import (
    CLOSED,
    Retriable,
    Site,
    late,
    no_answer,
    refused,
    too_long,
    unreachable,
    untrusted,
)
from headrace.open_inference.errors import InvalidRequest, OpenInferenceError, PredictorFailed
from headrace.open_inference.grpc.codec import decode_response_message, encode_request_message
from headrace.open_inference.grpc.messages import INFERENCE
from headrace.open_inference.tensors import InferRequest, InferResponse

_SERVICE = "/inference.GRPCInferenceService/"
_KEEP_ALIVE_MS = 30_000
_BACKOFF_MS = 1_000
_LONGEST_S = 86_400.0  # gRPC takes a time-out beyond what it can hold for one that has passed
#: What gRPC's own words for a connection that failed come to.
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_CAUSES = (
    ("refused", "connection refused"),
    ("handshake", "TLS failed"),
    ("unreachable", "no route"),
    ("imeout", "no connection in time"),
    ("imed out", "no connection in time"),
)
Call = Callable[..., Any]


class GrpcChannel:
    """A Channel over gRPC to one address of a site."""

    def __init__(self, address: str, site: Site) -> None:
        self._site, self.alone = site, True
        self._target = f"ipv6:[{address}]:{site.port}" if ":" in address else f"ipv4:{address}:{site.port}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Call] = {}
        self._retiring: asyncio.Task[None] | None = None

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Ask a model; the request's headers go with it."""
        # Of others gRPC would begin no call at all.
        headers = tuple(each for each in request.headers.items() if each[1].isascii() and each[1].isprintable())
        answer = await self._asked("ModelInfer", request.model, encode_request_message(request), deadline, headers)
        try:
            return decode_response_message(answer)
        except InvalidRequest as wrong:
            raise no_answer(request.model, wrong) from wrong

    async def metadata(self, model: str, version: str, deadline: float) -> dict[str, Any]:
        """Return a version's metadata."""
        said = await self._asked("ModelMetadata", model, {"name": model, "version": version}, deadline)
        sides = {
            side: [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in getattr(said, side)]
            for side in ("inputs", "outputs")
        }
        return {"name": said.name, "versions": list(said.versions), "platform": said.platform, **sides}

    async def config(self, model: str, deadline: float) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's."""
        said = (await self._asked("ModelConfig", model, {"name": model}, deadline)).config
        parameters = {key: {"string_value": value.string_value} for key, value in said.parameters.items()}
        return {
            "name": said.name,
            "platform": said.platform,
            "backend": said.backend,
            "max_batch_size": said.max_batch_size,
            "parameters": parameters,
        }

    async def ready(self, model: str, version: str, deadline: float) -> bool:
        """Tell whether a version is ready."""
        return (await self._asked("ModelReady", model, {"name": model, "version": version}, deadline)).ready

    def retire(self) -> None:
        """Answer what is under way, and end."""
        if self._channel is not None and self._loop is asyncio.get_running_loop():
            self._retiring = self._loop.create_task(self._channel.close(grace=60.0))
        self._channel = None

    async def close(self) -> None:
        """End every call."""
        channel, self._channel = self._channel, None
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close()

    async def _asked(
        self, name: str, model: str, message: Any, deadline: float, headers: tuple[tuple[str, str], ...] = ()
    ) -> Any:
        loop = asyncio.get_running_loop()
        if self._channel is None or self._loop is not loop:
            self._open(loop)
        if isinstance(message, dict):
            message = INFERENCE[f"{name}Request"](**message)
        call = self._calls.get(name) or self._calls.setdefault(name, self._call(name))
        try:
            answer = await call(message, timeout=min(deadline - loop.time(), _LONGEST_S), metadata=headers)
            return INFERENCE[f"{name}Response"].FromString(answer)
        except DecodeError:
            raise PredictorFailed(f"the predictor of {model!r} did not answer with the protocol's messages") from None
        except grpc.aio.AioRpcError as failed:
            raise self._failure(model, failed) from None
        except grpc.aio.UsageError:  # it was closed meanwhile
            raise unreachable(model, CLOSED, same=True) from None

    def _failure(self, model: str, failed: grpc.aio.AioRpcError) -> OpenInferenceError | Retriable:
        code, said = failed.code().name, failed.details() or ""
        if code == "DEADLINE_EXCEEDED":
            return late(model)
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in said:  # ours to say: of the answer, not of the server
            return too_long(model, self._site.longest)
        if code == "RESOURCE_EXHAUSTED" and "metadata size" in said:
            return PredictorFailed(f"the predictor of {model!r} takes no headers that are so long: {said}")
        if code == "CANCELLED" or (code == "UNAVAILABLE" and not failed.initial_metadata() and _is_ours(said)):
            if _UNTRUSTED in said:
                return untrusted(model, said.partition(f"{_UNTRUSTED}:")[2].split(":")[0].strip() or "no reason given")
            cause = next((cause for sign, cause in _CAUSES if sign in said), CLOSED)
            return unreachable(model, cause, same="failed to connect" not in said)
        return refused(model, code, said)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        site = self._site
        options = [
            ("grpc.max_receive_message_length", site.longest),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", _KEEP_ALIVE_MS),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_retries", 0),  # what is tried again is decided in one place
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", _BACKOFF_MS),
            ("grpc.enable_http_proxy", 0),
            ("grpc.default_authority", str(site)),
        ]
        if site.tls is None:
            self._channel = grpc.aio.insecure_channel(self._target, options)
        else:
            credentials = grpc.ssl_channel_credentials(site.authorities)
            options.append(("grpc.ssl_target_name_override", site.host))
            self._channel = grpc.aio.secure_channel(self._target, credentials, options)
        self._loop = loop
        self._calls.clear()

    def _call(self, name: str) -> Call:
        assert self._channel is not None
        return self._channel.unary_unary(_SERVICE + name, request_serializer=lambda m: m.SerializeToString())


def _is_ours(said: str) -> bool:
    """Tell what gRPC says of a connection from what a server says of itself."""
    return any(word in said for word in ("failed to connect", "Connection", "connection", "Socket closed", "GOAWAY"))

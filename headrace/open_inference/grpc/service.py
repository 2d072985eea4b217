"""The gRPC side of the protocol: inference.GRPCInferenceService, beside the standard health check and reflection.

A refusal ends a call with the status code of its error. The call's own deadline, where it has one,
is the request's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from headrace.open_inference import bodies_held
from headrace.open_inference.admission import FULL, Admission
from headrace.open_inference.calls import Watch
from headrace.open_inference.errors import CONTROL_IS_OFF, InvalidRequest, OpenInferenceError, Overloaded
from headrace.open_inference.forwarding import REQUEST_ID, of_grpc
from headrace.open_inference.gate import Gate
from headrace.open_inference.grpc.calls import WatchedContext, watched
from headrace.open_inference.grpc.codec import decode_message, encode_message
from headrace.open_inference.grpc.health import health_handler
from headrace.open_inference.grpc.messages import INFERENCE, MODEL_TYPES, PROTOCOL
from headrace.open_inference.grpc.reflection import reflection_handlers
from headrace.open_inference.grpc.refusals import refusal
from headrace.open_inference.servable import Servable
from headrace.open_inference.shield import shielded
from headrace.open_inference.statistics import Counting, rows_in

EXTENSIONS = ["model_configuration", "model_repository", "statistics"]
#: Calls that one connection may have under way; clients wait with more by themselves.
_STREAMS = 1024
#: The least that a call is taken to have, and the part of its time that is left where it ends with its deadline.
_TICK_S, _NEAR = 0.001, 0.1
Method = Callable[[Any, Any], Awaitable[Any]]


async def serve_grpc(
    servables: Mapping[str, Servable],
    address: str,
    *,
    default_deadline_s: float = 5.0,
    max_body_bytes: int = 16 << 20,
    gate: Gate | None = None,
    name: str = "headrace",
    version: str = "",
    admission: Admission | None = None,
    watch: Watch | None = None,
    credentials: grpc.ServerCredentials | None = None,
    shared: bool = False,
) -> Any:
    """Start a gRPC server at `host:port` and return it; the bound port is its `headrace_port`.

    With a gate of its own (an App's, say) both doors share limits and readiness; else it gets one. What `admission`
    has no room for is refused before it is decoded. A shared port is one that other processes listen at too.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", int(shared)),  # else two servers would share its calls, and nobody would know
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]
    )
    about = {"name": name, "version": version}
    service = _Service(gate or Gate(servables, default_deadline_s), about, admission, watch)
    server.add_generic_rpc_handlers((service.handler(), health_handler(service.gate), *reflection_handlers()))
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.headrace_port = bound
    await server.start()
    return server


class _Service:
    def __init__(
        self, gate: Gate, about: dict[str, str], admission: Admission | None = None, watch: Watch | None = None
    ) -> None:
        self.gate, self.about = gate, about
        self.admission, self.watch = admission, watch

    def handler(self) -> grpc.GenericRpcHandler:
        calls = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "ModelInfer": self.model_infer,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.refuse_control,
            "RepositoryModelUnload": self.refuse_control,
        }
        gates = {"ModelInfer": self.gate}
        methods = {name: _answered(call, INFERENCE[f"{name}Request"], gates.get(name)) for name, call in calls.items()}
        if self.admission is not None:
            methods["ModelInfer"] = _admitted(methods["ModelInfer"], self.admission, self.gate)
        if self.watch is not None:
            methods["ModelInfer"] = watched(methods["ModelInfer"], self.watch)
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        return grpc.method_handlers_generic_handler(PROTOCOL.service_name, handlers)

    async def server_live(self, message: Any, context: Any) -> Any:
        return INFERENCE["ServerLiveResponse"](live=True)

    async def server_ready(self, message: Any, context: Any) -> Any:
        return INFERENCE["ServerReadyResponse"](ready=self.gate.why_not_ready() is None)

    async def model_ready(self, message: Any, context: Any) -> Any:
        servable = self.gate.model(message.name, message.version)
        return INFERENCE["ModelReadyResponse"](ready=servable.readiness() is None)

    async def server_metadata(self, message: Any, context: Any) -> Any:
        return INFERENCE["ServerMetadataResponse"](**self.about, extensions=EXTENSIONS)

    async def model_metadata(self, message: Any, context: Any) -> Any:
        found = self.gate.model(message.name, message.version).metadata()
        known = {key: found[key] for key in ("name", "versions", "platform", "inputs", "outputs") if key in found}
        for side in ("inputs", "outputs"):
            known[side] = [{key: t[key] for key in ("name", "datatype", "shape")} for t in known.get(side, ())]
        return INFERENCE["ModelMetadataResponse"](**known)

    async def model_config(self, message: Any, context: Any) -> Any:
        found = self.gate.model(message.name, message.version).config()
        known = {key: found[key] for key in ("name", "platform", "backend", "max_batch_size") if key in found}
        config = INFERENCE["ModelConfig"](**known)
        for side in ("input", "output"):
            for tensor in found.get(side, ()):
                number = MODEL_TYPES.get(tensor["data_type"], 0)
                getattr(config, side).add(name=tensor["name"], data_type=number, dims=map(int, tensor["dims"]))
        for key, value in found.get("parameters", {}).items():
            config.parameters[key].string_value = value["string_value"]
        return INFERENCE["ModelConfigResponse"](config=config)

    async def repository_index(self, message: Any, context: Any) -> Any:
        return INFERENCE["RepositoryIndexResponse"](models=self.gate.index(ready=message.ready))

    async def model_statistics(self, message: Any, context: Any) -> Any:
        servables = self.gate.servables
        if message.name:
            self.gate.model(message.name, message.version)
            servables = {message.name: servables[message.name]}
        counted = await self.gate.statistics.of_all()
        told = counted.told(servables, message.version if message.name else "")
        return INFERENCE["ModelStatisticsResponse"](
            model_stats=[{key: one[key] for key in one if key != "batch_stats"} for one in told]
        )

    async def refuse_control(self, message: Any, context: Any) -> Any:
        self.gate.model(message.model_name)
        raise InvalidRequest(CONTROL_IS_OFF)

    async def model_infer(self, message: Any, context: Any) -> Any:
        # A caller that gives up at its deadline is heard of a little before the same instant comes here.
        work, near_s = self._infer(message, context), _left_s(context) * _NEAR
        return await self.gate.observed(message.model_name, work, lambda: _left_s(context) < near_s)

    async def _infer(self, message: Any, context: Any) -> Any:
        servable = self.gate.model(message.model_name, message.model_version)
        allowed_s = context.time_remaining()
        deadline = self.gate.deadline(allowed_s)
        told = Counting(self.gate.statistics.of(servable, message.model_version))
        try:
            request = decode_message(message)
            if self.gate.forwards:
                request.headers = of_grpc(self.gate.forwards, context.invocation_metadata())
            told.decoded(rows_in(request))
            response = await self.gate.infer(servable, request, deadline, allowed_s)
            told.inferred()
            answer = encode_message(response, request)
            told.answered()
        except OpenInferenceError as refused:
            refused.request_id = refused.request_id or _id_of(context)
            raise
        finally:
            told.ended()
        return answer


def _left_s(context: Any) -> float:
    left = context.time_remaining()
    return math.inf if left is None else left


def _id_of(context: Any) -> str:
    found = of_grpc(((REQUEST_ID, REQUEST_ID.decode()),), context.invocation_metadata())
    return next(iter(found.values()), "")


def _answered(call: Method, kind: Any, inferring: Gate | None = None) -> Method:
    async def parsed(raw: bytes, context: Any) -> Any:
        try:
            message = kind.FromString(raw)
        except DecodeError:
            if inferring is not None:
                inferring.tell_unread(InvalidRequest.http_status)
            raise InvalidRequest(f"the message has {len(raw)} bytes that are no {kind.__name__}, needs one") from None
        return await call(message, context)

    async def held(raw: bytes, context: Any, gate: Gate) -> Any:
        gate.held.take(len(raw))
        try:
            if gate.held.full(len(raw)):
                gate.tell_unread()
                raise Overloaded(bodies_held.FULL)
            return await parsed(raw, context)
        finally:
            gate.held.free(len(raw))

    async def answered(raw: bytes, context: Any) -> bytes:
        try:
            work = parsed(raw, context) if inferring is None else held(raw, context, inferring)
            return (await shielded(work)).SerializeToString()
        except OpenInferenceError as refused:
            code = getattr(grpc.StatusCode, refused.grpc_code)
            if isinstance(context, WatchedContext):
                context.refused_with = refused.http_status
            return refusal(context, code, refused.message, refused.retry_after_s)

    return answered


def _admitted(answered: Method, admission: Admission, gate: Gate) -> Method:
    async def admitted(raw: bytes, context: Any) -> Any:
        left = context.time_remaining()
        allowed_s = gate.default_deadline_s if left is None else max(left, _TICK_S)
        if admission.full(allowed_s):
            admission.shed += 1
            gate.tell_unread()
            return refusal(context, grpc.StatusCode.RESOURCE_EXHAUSTED, FULL, 1.0)
        place = admission.enter()
        began = time.monotonic()
        try:
            return await answered(raw, context)
        finally:
            admission.leave(place, time.monotonic() - began, allowed_s)

    return admitted

"""The HTTP side of the protocol as a bare ASGI application: v2, health, v1 and metrics.

Every refusal is `{"error": message}`. A request may say how many milliseconds it can wait in the
header `headrace-deadline-ms`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from headrace.open_inference.answers import Answer, answer_json, metrics_answer, ready_answer, refusal
from headrace.open_inference.body import read_body
from headrace.open_inference.codec import decode_request, encode_response
from headrace.open_inference.errors import Disconnected, InvalidRequest, OpenInferenceError, UnknownModel
from headrace.open_inference.gate import Gate
from headrace.open_inference.raw_request import decode_raw
from headrace.open_inference.servable import Servable
from headrace.open_inference.shield import shielded

EXTENSIONS = ["binary_tensor_data", "model_configuration"]
Headers = Mapping[bytes, bytes]


def make_app(
    servables: Mapping[str, Servable],
    *,
    default_deadline_s: float = 5.0,
    max_body_bytes: int = 16 << 20,
    max_in_flight: int = 512,
    metrics: Callable[[], bytes] | None = None,
    observe: Callable[[str, int, float], None] | None = None,
    name: str = "headrace",
    version: str = "",
) -> App:
    """Return the ASGI application that serves these models.

    `observe(model, status, seconds)` is told of every inference, refused ones included.
    """
    gate = Gate(servables, default_deadline_s, max_in_flight, observe=observe)
    return App(gate, max_body_bytes, metrics, {"name": name, "version": version, "extensions": EXTENSIONS})


class App:
    """An ASGI application over a gate; made by `make_app`."""

    def __init__(
        self,
        gate: Gate,
        max_body_bytes: int,
        metrics: Callable[[], bytes] | None,
        about: dict[str, Any],
    ) -> None:
        self.gate = gate
        self.max_body_bytes = max_body_bytes
        self.about = about
        self._metrics = metrics

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request; a caller that hangs up gets nothing."""
        if scope["type"] != "http":
            return
        answer = await self._answered(scope, receive)
        if answer is None:
            return
        status, headers, body = answer
        if self.gate.draining:
            headers = [*headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answered(self, scope: dict[str, Any], receive: Any) -> Answer | None:
        try:
            return await shielded(self._routed(scope, receive))
        except Disconnected:
            return None
        except OpenInferenceError as refused:
            return refusal(refused)

    def _routed(self, scope: dict[str, Any], receive: Any) -> Awaitable[Answer]:
        parts = scope["path"].strip("/").split("/")
        if scope["method"] == "POST":
            match parts:
                case ["v2", "models", model, "infer"]:
                    return self.gate.observed(model, self._infer(model, "", scope, receive))
                case ["v2", "models", model, "versions", version, "infer"]:
                    return self.gate.observed(model, self._infer(model, version, scope, receive))
                case ["v1", "models", asked] if asked.endswith(":predict"):
                    model = asked.removesuffix(":predict")
                    return self.gate.observed(model, self._predict_v1(model, scope, receive))
                case ["v2", "repository", "index"]:
                    return self._index(scope, receive)
        return self._told(scope["method"], parts)

    async def _infer(self, model: str, version: str, scope: dict[str, Any], receive: Any) -> Answer:
        headers = dict(scope["headers"])
        servable = self.gate.model(model, version)
        deadline = self.gate.deadline(_allowed_s(headers))
        body = await read_body(receive, headers, self.max_body_bytes)
        length = _header_length(headers)
        if length == 0:
            request = decode_raw(body, servable.metadata(), model, version)
        else:
            request = decode_request(body, length, model, version)
        response = await self.gate.infer(servable, request, deadline)
        encoded, json_length = encode_response(response, request)
        if json_length is None:
            return 200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(encoded))], encoded
        return (
            200,
            [
                (b"content-type", b"application/octet-stream"),
                (b"content-length", b"%d" % len(encoded)),
                (b"inference-header-content-length", b"%d" % json_length),
            ],
            encoded,
        )

    async def _predict_v1(self, model: str, scope: dict[str, Any], receive: Any) -> Answer:
        headers = dict(scope["headers"])
        servable = self.gate.model(model)
        deadline = self.gate.deadline(_allowed_s(headers))
        body = await read_body(receive, headers, self.max_body_bytes)
        asked = _object(body)
        if not isinstance(asked.get("instances"), list):
            raise InvalidRequest("the body has no instances, needs an object with a list 'instances'")
        return answer_json(200, await self.gate.predict_v1(servable, asked, deadline))

    async def _index(self, scope: dict[str, Any], receive: Any) -> Answer:
        body = await read_body(receive, dict(scope["headers"]), self.max_body_bytes)
        asked = _object(body) if body else {}
        return answer_json(200, self.gate.index(ready=asked.get("ready") is True))

    async def _told(self, method: str, parts: list[str]) -> Answer:
        allowed, say = self._route(parts)
        if method not in allowed:
            return refusal(InvalidRequest(f"the method is {method[:20]!r}, needs {allowed[0]}"), 405, allowed)
        assert say is not None
        return say()

    def _route(self, parts: list[str]) -> tuple[list[str], Callable[[], Answer] | None]:
        match parts:
            case ["v2"]:
                return ["GET", "HEAD"], lambda: answer_json(200, self.about)
            case ["v2", "health", "live"] | ["livez"]:
                return ["GET", "HEAD"], lambda: answer_json(200, {"live": True})
            case ["v2", "health", "ready"] | ["readyz"]:
                return ["GET", "HEAD"], lambda: ready_answer({"live": True}, self.gate.why_not_ready())
            case ["metrics"] if self._metrics is not None:
                metrics = self._metrics
                return ["GET", "HEAD"], lambda: metrics_answer(metrics())
            case ["v2", "repository", "index"]:
                return ["POST"], None
            case ["v2", "models"]:
                return ["GET", "HEAD"], lambda: answer_json(200, {"models": list(self.gate.servables)})
            case ["v2", "models", model, "versions", version, *rest]:
                return self._route_model(self.gate.model(model, version), rest)
            case ["v2", "models", model, *rest]:
                return self._route_model(self.gate.model(model), rest)
            case ["v1", "models"]:
                return ["GET", "HEAD"], lambda: answer_json(200, {"models": list(self.gate.servables)})
            case ["v1", "models", model] if model.endswith(":predict"):
                return ["POST"], None
            case ["v1", "models", model]:
                return self._route_model(self.gate.model(model), ["ready"])
        raise UnknownModel("there is no such route, needs one of the Open Inference Protocol such as /v2/models")

    def _route_model(self, servable: Servable, rest: list[str]) -> tuple[list[str], Callable[[], Answer] | None]:
        match rest:
            case []:
                return ["GET", "HEAD"], lambda: answer_json(200, servable.metadata())
            case ["ready"]:
                return ["GET", "HEAD"], lambda: ready_answer({"name": servable.name}, servable.readiness())
            case ["config"]:
                return ["GET", "HEAD"], lambda: answer_json(200, servable.config())
            case ["infer"]:
                return ["POST"], None
        raise UnknownModel(f"there is no such route of model {servable.name!r}, needs infer, ready or config")


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON ({error.msg}), needs a JSON object") from None
    return asked if isinstance(asked, dict) else {}


def _allowed_s(headers: Headers) -> float | None:
    said = headers.get(b"headrace-deadline-ms")
    if said is None:
        return None
    try:
        allowed = float(said)
    except ValueError:
        allowed = math.nan
    if not 0 < allowed < math.inf:
        raise InvalidRequest("the header headrace-deadline-ms is no positive number, needs milliseconds such as 50")
    return allowed / 1000


def _header_length(headers: Headers) -> int | None:
    said = headers.get(b"inference-header-content-length")
    if said is None:
        return None
    if not said.isdigit() or len(said) > 18:
        raise InvalidRequest("the header Inference-Header-Content-Length is no number of bytes, needs one such as 120")
    return int(said)

"""The HTTP side of the protocol as a bare ASGI application: v2, health, v1 and metrics.

Every refusal is `{"error": message}`. A request may say how many milliseconds it can wait in the
header `headrace-deadline-ms`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import unquote

import orjson

from headrace.open_inference.bodies_held import BodiesHeld
from headrace.open_inference.calls import Watch
from headrace.open_inference.codec.bodies import encode_response
from headrace.open_inference.errors import CONTROL_IS_OFF, Disconnected, InvalidRequest, OpenInferenceError
from headrace.open_inference.forwarding import BESIDE_V1, forwards_of, of_http
from headrace.open_inference.gate import Gate
from headrace.open_inference.rest.answers import Answer, answer_json, refusal
from headrace.open_inference.rest.body import read_body
from headrace.open_inference.rest.coding import PACK_FROM
from headrace.open_inference.rest.inferences import (
    Headers,
    allowed_s,
    answer_of,
    counted,
    packed_for,
    read_request,
)
from headrace.open_inference.rest.routes import Routes
from headrace.open_inference.servable import Servable
from headrace.open_inference.shield import shielded
from headrace.open_inference.statistics import rows_in

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def make_app(
    servables: Mapping[str, Servable],
    *,
    default_deadline_s: float = 5.0,
    max_body_bytes: int = 16 << 20,
    max_in_flight: int = 512,
    metrics: Callable[[], bytes] | None = None,
    observe: Callable[[str, int, float | None], None] | None = None,
    name: str = "headrace",
    version: str = "",
    forward: Iterable[str] = (),
) -> App:
    """Return the ASGI application that serves these models.

    `observe(model, status, seconds)` is told of every inference, refused ones included. `forward` names, in small
    letters, the headers that a model is given with its requests.
    """
    gate = Gate(servables, default_deadline_s, max_in_flight, observe=observe, forwards=forwards_of(forward))
    gate.held = BodiesHeld(max_body_bytes)
    return App(gate, max_body_bytes, metrics, {"name": name, "version": version, "extensions": EXTENSIONS})


class App:
    """An ASGI application over a gate; made by `make_app`."""

    #: Who is told of inferences over gRPC beside it; see `calls`.
    watch: Watch | None = None

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
        self._routes = Routes(gate, about, metrics)

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
        parts = _parts(scope)
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
                case ["v2", "repository", "models", model, "load" | "unload"]:
                    return self._refuse_control(model, scope, receive)
        return self._told(scope["method"], parts)

    async def _infer(self, model: str, version: str, scope: dict[str, Any], receive: Any) -> Answer:
        headers = dict(scope["headers"])
        servable = self.gate.model(model, version)
        deadline = self.gate.deadline(allowed_s(headers))
        body = await read_body(receive, headers, self.max_body_bytes)
        with self._besides(headers, body):
            return await self._inferred(servable, (model, version), headers, body, deadline)

    async def _inferred(
        self, servable: Servable, named: tuple[str, str], headers: Headers, body: bytes, deadline: float
    ) -> Answer:
        allowed = allowed_s(headers)
        with counted(self.gate.statistics.of(servable, named[1]), headers) as told:
            request = read_request(*named, servable, headers, body, self.gate.forwards)
            told.decoded(rows_in(request))
            response = await self.gate.infer(servable, request, deadline, allowed)
            told.inferred()
            encoded, json_length = encode_response(response, request)
        answer = answer_of(encoded, json_length)
        return await packed_for(answer, headers) if len(encoded) >= PACK_FROM else answer

    async def _predict_v1(self, model: str, scope: dict[str, Any], receive: Any) -> Answer:
        headers = dict(scope["headers"])
        servable = self.gate.model(model)
        deadline = self.gate.deadline(allowed_s(headers))
        body = await read_body(receive, headers, self.max_body_bytes)
        with self._besides(headers, body):
            return await self._predicted_v1(servable, headers, body, deadline)

    async def _predicted_v1(self, servable: Servable, headers: Headers, body: bytes, deadline: float) -> Answer:
        with counted(self.gate.statistics.of(servable, ""), headers) as told:
            asked = _object(body)
            if not isinstance(asked.get("instances"), list):
                raise InvalidRequest("the body has no instances, needs an object with a list 'instances'")
            if self.gate.forwards:
                BESIDE_V1.set(of_http(self.gate.forwards, headers))
            told.decoded(len(asked["instances"]))
            said = await self.gate.predict_v1(servable, asked, deadline, allowed_s(headers))
            told.inferred()
            answer = answer_json(200, said)
        return await packed_for(answer, headers) if len(answer[2]) >= PACK_FROM else answer

    def _besides(self, headers: Headers, body: bytes) -> AbstractContextManager[None]:
        return self.gate.held.besides(len(body) if b"content-encoding" in headers else 0)

    async def _index(self, scope: dict[str, Any], receive: Any) -> Answer:
        body = await read_body(receive, dict(scope["headers"]), self.max_body_bytes)
        asked = _object(body) if body else {}
        return answer_json(200, self.gate.index(ready=asked.get("ready") is True))

    async def _refuse_control(self, model: str, scope: dict[str, Any], receive: Any) -> Answer:
        await read_body(receive, dict(scope["headers"]), self.max_body_bytes)
        self.gate.model(model)
        raise InvalidRequest(CONTROL_IS_OFF)

    async def _told(self, method: str, parts: list[str]) -> Answer:
        allowed, say = self._routes.of(parts)
        if method == "OPTIONS":
            return 204, [(b"allow", ", ".join(allowed).encode())], b""
        if method not in allowed:
            return refusal(InvalidRequest(f"the method is {method[:20]!r}, needs {allowed[0]}"), 405, allowed)
        assert say is not None
        said = say()
        status, headers, body = said if isinstance(said, tuple) else await said
        return status, headers, b"" if method == "HEAD" else body


def _parts(scope: dict[str, Any]) -> list[str]:
    raw: bytes = scope.get("raw_path", b"")
    if b"%" not in raw:
        return scope["path"].strip("/").split("/")
    return [unquote(part) for part in raw.decode("latin-1").strip("/").split("/")]


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON ({error.msg}), needs a JSON object") from None
    return asked if isinstance(asked, dict) else {}

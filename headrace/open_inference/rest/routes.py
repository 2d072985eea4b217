"""Every route that is told rather than inferred: health, metadata, statistics, the index, documents, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from headrace.open_inference.errors import UnknownModel
from headrace.open_inference.gate import Gate
from headrace.open_inference.rest.answers import Answer, answer_json, metrics_answer, ready_answer
from headrace.open_inference.rest.docs_page import docs_answer
from headrace.open_inference.rest.openapi import document
from headrace.open_inference.servable import Servable

Say = Callable[[], Answer | Awaitable[Answer]]
#: What a route can be asked by, and what it then says; None where it is the application that answers.
Route = tuple[list[str], Say | None]
_ASKED, _POSTED = ["GET", "HEAD", "OPTIONS"], ["POST", "OPTIONS"]


class Routes:
    """The routes of a server, by the parts of a path."""

    def __init__(self, gate: Gate, about: dict[str, Any], metrics: Callable[[], bytes] | None) -> None:
        self._gate = gate
        self._said: dict[str, Say] = {
            "": lambda: answer_json(200, {"status": "alive"}),
            "livez": lambda: answer_json(200, {"live": True}),
            "readyz": self._readiness,
            "v2": lambda: answer_json(200, about),
            "v2/health/live": lambda: answer_json(200, {"live": True}),
            "v2/health/ready": self._readiness,
            "v2/models": self._models,
            "v2/models/stats": lambda: self._statistics(None, ""),
            "v1/models": self._models,
            "openapi.json": lambda: answer_json(200, document(about, gate.servables, metrics=metrics is not None)),
            "docs": docs_answer,
        }
        if metrics is not None:
            self._said["metrics"] = lambda: metrics_answer(metrics())

    def of(self, parts: list[str]) -> Route:
        """Return the route of a path; raises UnknownModel where there is none, or no such model."""
        say = self._said.get("/".join(parts))
        if say is not None:
            return _ASKED, say
        match parts:
            case ["v2", "models", model, "versions", version, *rest]:
                return self._of_model(self._gate.model(model, version), version, rest)
            case ["v2", "models", model, *rest]:
                return self._of_model(self._gate.model(model), "", rest)
            case ["v1", "models", model] if model.endswith(":predict"):
                return _POSTED, None
            case ["v1", "models", model]:
                return self._of_model(self._gate.model(model), "", ["ready"])
            case ["v2", "repository", "index"] | ["v2", "repository", "models", _, "load" | "unload"]:
                return _POSTED, None
        raise UnknownModel("there is no such route, needs one of the Open Inference Protocol such as /v2/models")

    def _of_model(self, servable: Servable, version: str, rest: list[str]) -> Route:
        match rest:
            case []:
                return _ASKED, lambda: answer_json(200, servable.metadata())
            case ["ready"]:
                return _ASKED, lambda: ready_answer({"name": servable.name}, servable.readiness())
            case ["config"]:
                return _ASKED, lambda: answer_json(200, servable.config())
            case ["stats"]:
                return _ASKED, lambda: self._statistics(servable, version)
            case ["infer"]:
                return _POSTED, None
        raise UnknownModel(f"there is no such route of model {servable.name!r}, needs infer, ready, config or stats")

    def _readiness(self) -> Answer:
        return ready_answer({"live": True}, self._gate.why_not_ready())

    def _models(self) -> Answer:
        return answer_json(200, {"models": list(self._gate.servables)})

    async def _statistics(self, servable: Servable | None, version: str) -> Answer:
        servables = self._gate.servables
        if servable is not None:
            servables = {servable.name: servables[servable.name]}
        counted = await self._gate.statistics.of_all()
        return answer_json(200, {"model_stats": counted.told(servables, version)})

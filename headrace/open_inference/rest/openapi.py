"""The server described for programs: an OpenAPI 3.1 document of its routes, with the real models, columns and examples.

It is made from the models' metadata whenever it is asked for, so that it is true after a model was exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from headrace.open_inference.rest.openapi_schemas import (
    COMPONENTS,
    Schema,
    request_example,
    request_schema,
    response_schema,
    row_example,
    row_schema,
)
from headrace.open_inference.servable import Servable

_REFUSALS = {
    "400": "The request cannot be answered as it is.",
    "404": "There is no such model, version or route.",
    "413": "The body is larger than this server reads.",
    "429": "Too many requests are under way: try again after Retry-After.",
    "502": "The predictor failed.",
    "503": "Nobody can answer yet: try again after Retry-After.",
    "504": "The deadline passed.",
}
_DEADLINE = {
    "name": "headrace-deadline-ms",
    "in": "header",
    "description": "How long the answer may take, in milliseconds.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_CUT = "Inference-Header-Content-Length"


def document(about: Mapping[str, Any], servables: Mapping[str, Servable], *, metrics: bool) -> dict[str, Any]:
    """Return the document of a server with these models."""
    paths = _server_paths(metrics)
    for servable in servables.values():
        paths |= _model_paths(servable)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": about["name"],
            "version": about["version"] or "0",
            "description": "The Open Inference Protocol (v2), REST. Every refusal is an object with an error.",
        },
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }


def _server_paths(metrics: bool) -> dict[str, Any]:
    ready = {"200": _json("Ready.", _ref("Ready")), "503": _json("Not ready, and why.", _ref("Ready"))}
    paths: dict[str, Any] = {
        "/v2": _get("server", "What this server is, and which extensions it speaks", "Server"),
        "/v2/health/live": _get("server", "Whether the process answers", "Live"),
        "/v2/health/ready": {"get": _operation("server", "Whether every model can be asked", ready)},
        "/v2/models": _get("server", "The models' names", "Models"),
        "/v2/models/stats": _get("server", "How often and how long every model was asked", "Statistics"),
        "/v2/repository/index": {"post": _operation("server", "Every version of every model", _answers("Index"))},
        "/v1/models": _get("v1", "The models' names", "Models"),
    }
    if metrics:
        text = {"200": {"description": "Prometheus' text.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
        paths["/metrics"] = {"get": _operation("server", "Metrics for Prometheus", text)}
    return paths


def _model_paths(servable: Servable) -> dict[str, Any]:
    name, metadata = quote(servable.name, safe=""), servable.metadata()
    paths = _paths_below(f"/v2/models/{name}", servable.name, metadata)
    if servable.versions:
        version = {"name": "version", "in": "path", "required": True, "schema": {"enum": list(servable.versions)}}
        below = _paths_below(f"/v2/models/{name}/versions/{{version}}", servable.name, metadata)
        paths |= {path: {**item, "parameters": [version]} for path, item in below.items()}
    paths[f"/v1/models/{name}"] = _ready(servable.name)
    if hasattr(servable, "predict_v1"):
        paths[f"/v1/models/{name}:predict"] = {"post": _predict_v1(servable.name, metadata)}
    return paths


def _paths_below(path: str, tag: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        path: _get(tag, "Inputs, outputs and versions", "Metadata"),
        f"{path}/ready": _ready(tag),
        f"{path}/config": _get(tag, "The configuration, in Triton's shape", "Configuration"),
        f"{path}/stats": _get(tag, "How often and how long it was asked", "Statistics"),
        f"{path}/infer": {"post": _infer(tag, metadata)},
    }


def _ready(tag: str) -> dict[str, Any]:
    answers = {"200": _json("Ready.", _ref("Ready")), "503": _json("Not ready, and why.", _ref("Ready"))}
    return {"get": _operation(tag, "Whether it can be asked", answers)}


def _infer(tag: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    example = request_example(metadata)
    content: Schema = {"schema": request_schema(metadata)}
    if example is not None:
        content["examples"] = {"one row": {"value": example}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    ok = {
        "description": f"The outputs; those asked for in binary follow the JSON, whose length is in {_CUT}.",
        "headers": {_CUT: {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": response_schema(metadata)}, "application/octet-stream": binary},
    }
    cut = {
        "name": _CUT,
        "in": "header",
        "description": "How many bytes of the body are JSON, where tensors follow; 0 for a raw body of the one input.",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {
        **_operation(tag, "Ask the model", {"200": ok, **_refusals(*_REFUSALS)}),
        "parameters": [_DEADLINE, cut],
        "requestBody": {"required": True, "content": {"application/json": content}},
    }


def _predict_v1(tag: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    row = row_example(metadata)
    rows = {"type": "array", "items": row_schema(metadata), "minItems": 1}
    asked = {"type": "object", "required": ["instances"], "properties": {"instances": rows}}
    given = {"type": "object", "required": ["predictions"], "properties": {"predictions": {"type": "array"}}}
    content = {"schema": asked, "examples": {"one row": {"value": {"instances": [row]}}}}
    answers = {"200": _json("One prediction for each instance.", given), **_refusals(*_REFUSALS)}
    return {
        **_operation(tag, "Ask the model in the words of v1", answers),
        "parameters": [_DEADLINE],
        "requestBody": {"required": True, "content": {"application/json": content}},
    }


def _get(tag: str, summary: str, schema: str) -> dict[str, Any]:
    return {"get": _operation(tag, summary, _answers(schema))}


def _operation(tag: str, summary: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    return {"tags": [tag], "summary": summary, "responses": {**_refusals("400", "404", "413"), **answers}}


def _answers(schema: str) -> dict[str, Any]:
    return {"200": _json("As asked.", _ref(schema))}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {status: _json(_REFUSALS[status], _ref("Error")) for status in statuses}


def _json(said: str, schema: Schema) -> dict[str, Any]:
    return {"description": said, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}

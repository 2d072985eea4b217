"""The model registry: models by name and version, their metrics and tags. Their files are in the data set `Models`."""

from __future__ import annotations

import shutil
from typing import Any

import orjson

from tests.hopsworks.files import located
from tests.hopsworks.metadata import PROJECT_ID, USER, Metadata
from tests.hopsworks.routes import PROJECT, RefusedError, Routes, body_of, number
from tests.hopsworks.wire import Request

MODELS = Routes()
_REGISTRIES = PROJECT + "/modelregistries"
_ALL = _REGISTRIES + "/{registry}/models"
_ONE = _ALL + "/{model}"
#: The tags whose schema an administrator has made.
TAG_SCHEMAS = frozenset({"headrace_alias"})


@MODELS.on("GET", _REGISTRIES)
def registries(state: Metadata, _request: Request, project: str) -> dict[str, Any]:
    return {"count": 1, "items": [{"id": PROJECT_ID, "name": state.project}]}


@MODELS.on("GET", _ALL)
def every_model(state: Metadata, request: Request, project: str, registry: str) -> dict[str, Any]:
    """List models, by name where asked, by a metric where asked."""
    found = list(state.models.values())
    for asked in request.query.get("filter_by", []):
        found = [model for model in found if f"name_eq:{model['name']}" == asked]
    for asked in request.query.get("sort_by", []):
        metric, _, direction = asked.partition(":")
        with_it = [model for model in found if metric in (model.get("metrics") or {})]
        found = sorted(with_it, key=lambda model: float(model["metrics"][metric]), reverse=direction == "desc")
    limit = number(request.query.get("limit", [str(len(found))])[0])
    return {"count": len(found[:limit]), "items": found[:limit]}


@MODELS.on("PUT", _ONE)
def put_model(state: Metadata, request: Request, project: str, registry: str, model: str) -> dict[str, Any]:
    """Register a version, whose folder must be there."""
    told = body_of(request, name=str, version=int, projectName=str)
    if model != f"{told['name']}_{told['version']}":
        raise RefusedError(400, 360001, "The model's name and version are not its path's.", model)
    if not located(state, f"Models/{told['name']}/{told['version']}").is_dir():
        raise RefusedError(400, 360002, "The model's folder wasn't found.", model)
    kept = {
        **told,
        "id": model,
        "modelRegistryId": PROJECT_ID,
        "created": 1767225600000,
        "creator": {"username": USER, "email": f"{USER}@localhost"},
        "userFullName": USER,
    }
    kept.pop("tags", None)
    state.models[model] = kept
    state.tags.setdefault(model, {})
    return kept


@MODELS.on("GET", _ONE)
def get_model(state: Metadata, _request: Request, project: str, registry: str, model: str) -> dict[str, Any]:
    return _found(state, model)


@MODELS.on("DELETE", _ONE)
def delete_model(state: Metadata, _request: Request, project: str, registry: str, model: str) -> None:
    kept = _found(state, model)
    shutil.rmtree(located(state, f"Models/{kept['name']}/{kept['version']}"), ignore_errors=True)
    del state.models[model], state.tags[model]


@MODELS.on("GET", _ONE + "/tags")
def tags_of(state: Metadata, _request: Request, project: str, registry: str, model: str) -> dict[str, Any]:
    _found(state, model)
    return _tags(state.tags[model])


@MODELS.on("GET", _ONE + "/tags/{name}")
def tag_of(state: Metadata, _request: Request, project: str, registry: str, model: str, name: str) -> dict[str, Any]:
    _found(state, model)
    if name not in state.tags[model]:
        raise RefusedError(404, 370002, "No tag was found.", name)
    return _tags({name: state.tags[model][name]})


@MODELS.on("PUT", _ONE + "/tags/{name}")
def set_tag(state: Metadata, request: Request, project: str, registry: str, model: str, name: str) -> dict[str, Any]:
    """Set a tag, whose schema an administrator has made before."""
    _found(state, model)
    if name not in TAG_SCHEMAS:
        raise RefusedError(404, 370000, "The tag's schema wasn't found.", name)
    state.tags[model][name] = orjson.loads(request.body)
    return _tags(state.tags[model])


@MODELS.on("DELETE", _ONE + "/tags/{name}")
def delete_tag(state: Metadata, _request: Request, project: str, registry: str, model: str, name: str) -> None:
    _found(state, model)
    if state.tags[model].pop(name, None) is None:
        raise RefusedError(404, 370002, "No tag was found.", name)


@MODELS.on("GET", _ONE + "/provenance/links")
def provenance(state: Metadata, _request: Request, project: str, registry: str, model: str) -> dict[str, Any]:
    _found(state, model)
    return {"upstream": [], "downstream": []}


def _tags(tags: dict[str, Any]) -> dict[str, Any]:
    return {"count": len(tags), "items": [{"name": name, "value": value} for name, value in tags.items()]}


def _found(state: Metadata, model: str) -> dict[str, Any]:
    if model not in state.models:
        raise RefusedError(404, 360000, "Model wasn't found.", model)
    return state.models[model]

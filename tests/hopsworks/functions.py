"""Transformation functions that stand alone: registered, found by name and version, deleted."""

from __future__ import annotations

from typing import Any

from tests.hopsworks.metadata import STORE_ID, Metadata
from tests.hopsworks.routes import STORE, RefusedError, Routes, body_of, number
from tests.hopsworks.wire import Request

FUNCTIONS = Routes()
_ALL = STORE + "/transformationfunctions"


@FUNCTIONS.on("POST", _ALL)
def register(state: Metadata, request: Request, project: str, store: str) -> dict[str, Any]:
    told = body_of(request, hopsworksUdf=dict)
    name = told["hopsworksUdf"].get("name")
    if not name or not told["hopsworksUdf"].get("sourceCode"):
        raise RefusedError(400, 120001, "A transformation function needs its name and its source.")
    known = [one["version"] for one in state.functions.values() if one["hopsworksUdf"]["name"] == name]
    version = told.get("version") or max(known, default=0) + 1
    if version in known:
        raise RefusedError(400, 270159, "The transformation function exists already.", f"{name} {version}")
    kept = {**told, "id": next(state.ids), "version": version, "featurestoreId": STORE_ID}
    state.functions[kept["id"]] = kept
    return kept


@FUNCTIONS.on("GET", _ALL)
def found(state: Metadata, request: Request, project: str, store: str) -> dict[str, Any]:
    names = request.query.get("name", [])
    versions = [number(text) for text in request.query.get("version", [])]
    kept = [
        one
        for one in state.functions.values()
        if (not names or one["hopsworksUdf"]["name"] in names) and (not versions or one["version"] in versions)
    ]
    if names and not kept:
        raise RefusedError(404, 270160, "Transformation function does not exist.", names[0])
    return {"count": len(kept), "items": kept}


@FUNCTIONS.on("DELETE", _ALL + "/{function}")
def delete(state: Metadata, _request: Request, project: str, store: str, function: str) -> None:
    if state.functions.pop(number(function), None) is None:
        raise RefusedError(404, 270160, "Transformation function does not exist.", function)

"""Feature views: created from a query, read, described anew and deleted."""

from __future__ import annotations

from typing import Any

from tests.hopsworks.metadata import STORE_ID, Metadata
from tests.hopsworks.routes import STORE, RefusedError, Routes, body_of, number
from tests.hopsworks.wire import Request

VIEWS = Routes()
_ALL = STORE + "/featureview"
_ONE = _ALL + "/{name}/version/{version}"


@VIEWS.on("POST", _ALL)
def create_view(state: Metadata, request: Request, project: str, store: str) -> dict[str, Any]:
    told = body_of(request, name=str, query=dict, featurestoreId=int, features=list)
    known = [version for name, version in state.views if name == told["name"]]
    version = told.get("version") or max(known, default=0) + 1
    if version in known:
        raise RefusedError(400, 270179, "Feature view exists already.", f"{told['name']} {version}")
    query = _expanded(state, told["query"])
    view = {
        "id": next(state.ids),
        "name": told["name"],
        "version": version,
        "description": told.get("description"),
        "featurestoreId": STORE_ID,
        "featurestoreName": f"{state.project}_featurestore",
        "type": "featureViewDTO",
        "query": query,
        "features": _features_of(query, told["features"]),
        "transformationFunctions": told.get("transformationFunctions") or [],
        "loggingEnabled": bool(told.get("loggingEnabled")),
        "created": "2026-01-01T00:00:00Z",
    }
    view["onDemandTransformationFunctions"] = _functions_in(view)
    view["servingKeys"] = serving_keys(view)
    state.views[told["name"], version] = view
    return view


@VIEWS.on("GET", _ALL)
def every_view(state: Metadata, _request: Request, project: str, store: str) -> dict[str, Any]:
    return {"count": len(state.views), "items": list(state.views.values())}


@VIEWS.on("GET", _ALL + "/{name}")
def views_named(state: Metadata, _request: Request, project: str, store: str, name: str) -> dict[str, Any]:
    found = [_current(state, view) for view in state.views.values() if view["name"] == name]
    if not found:
        raise RefusedError(404, 270181, "Feature view wasn't found.", f"feature view {name}")
    return {"count": len(found), "items": found}


@VIEWS.on("GET", _ONE)
def view_of(state: Metadata, _request: Request, project: str, store: str, name: str, version: str) -> dict[str, Any]:
    return _current(state, state.view(name, number(version)))


@VIEWS.on("PUT", _ONE)
def update_view(state: Metadata, request: Request, project: str, store: str, name: str, version: str) -> dict[str, Any]:
    """Describe a view anew; nothing else of it can change."""
    view = state.view(name, number(version))
    view["description"] = body_of(request).get("description")
    return view


@VIEWS.on("DELETE", _ONE)
def delete_view(state: Metadata, _request: Request, project: str, store: str, name: str, version: str) -> None:
    state.view(name, number(version))
    del state.views[name, number(version)]


@VIEWS.on("DELETE", _ALL + "/{name}")
def delete_views(state: Metadata, request: Request, project: str, store: str, name: str) -> None:
    for view in views_named(state, request, project, store, name)["items"]:
        del state.views[name, view["version"]]


@VIEWS.on("GET", _ONE + "/provenance/links")
def links(state: Metadata, _request: Request, project: str, store: str, name: str, version: str) -> dict[str, Any]:
    view = state.view(name, number(version))
    groups = {feature["featuregroup"]["id"]: None for feature in view["features"]}
    node = {"artifactType": "FEATURE_GROUP", "accessible": True, "deleted": False, "traversed": True}
    upstream = [{"node": {**node, "artifact": state.group_of(one)}, "upstream": [], "downstream": []} for one in groups]
    return {"upstream": upstream, "downstream": []}


def serving_keys(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a request must name: the key of every group of which more than labels is read.

    A joined key that the root's own key supplies is not required; all others carry the join's prefix.
    """
    query, keys = view["query"], []
    learnt = {f["featuregroup"]["id"] for f in view["features"] if not f["label"]}
    root = query["leftFeatureGroup"]
    given = set(_key_of(root)) if root["id"] in learnt else set()
    keys += [_serving_key(name, 0, root, "", None) for name in _key_of(root) if name in given]
    for at, join in enumerate(query["joins"], start=1):
        group = join["query"]["leftFeatureGroup"]
        if group["id"] not in learnt:
            continue
        sides = dict(zip(_names(join, "rightOn"), _names(join, "leftOn"), strict=False))
        for name in _key_of(group):
            left = sides.get(name, name)
            keys.append(_serving_key(name, at, group, join.get("prefix") or "", left if left in given else None))
    return keys


def _serving_key(name: str, at: int, group: dict[str, Any], prefix: str, supplied_by: str | None) -> dict[str, Any]:
    return {
        "featureName": name,
        "joinIndex": at,
        "featureGroup": group,
        "required": supplied_by is None,
        "prefix": prefix,
        "joinOn": supplied_by,
    }


def _names(join: dict[str, Any], side: str) -> list[str]:
    return [feature["name"] for feature in join.get("on") or join.get(side) or ()]


def _key_of(group: dict[str, Any]) -> list[str]:
    return [feature["name"] for feature in group["features"] if feature["primary"]]


def _expanded(state: Metadata, query: dict[str, Any]) -> dict[str, Any]:
    """Return the query with whole groups and features in place of what was posted."""
    group = state.group_of(number(str((query.get("leftFeatureGroup") or {}).get("id"))))
    known = {feature["name"]: feature for feature in group["features"]}
    features = []
    for asked in query.get("leftFeatures") or ():
        if asked.get("name") not in known:
            raise RefusedError(400, 270156, "The feature does not exist.", f"{group['name']}.{asked.get('name')}")
        features.append({**known[asked["name"]], "featureGroupId": group["id"]})
    joins = []
    for join in query.get("joins") or ():
        inner = _expanded(state, join["query"])
        _check_join(join, known, inner["leftFeatureGroup"])
        joins.append({**join, "query": inner})
    return {**query, "leftFeatureGroup": group, "leftFeatures": features, "joins": joins}


def _check_join(join: dict[str, Any], left: dict[str, Any], group: dict[str, Any]) -> None:
    right = {feature["name"] for feature in group["features"]}
    absent = [n for n in _names(join, "leftOn") if n not in left] + [
        n for n in _names(join, "rightOn") if n not in right
    ]
    if absent:
        raise RefusedError(400, 270156, "A join's feature does not exist.", ", ".join(absent))


def _features_of(query: dict[str, Any], told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    marked = {
        mark: {(f["name"], (f.get("featuregroup") or {}).get("id")) for f in told if f.get(mark)}
        for mark in ("label", "inferenceHelperColumn", "trainingHelperColumn")
    }
    features: list[dict[str, Any]] = []
    parts = [(query, "")] + [(join["query"], join.get("prefix") or "") for join in query["joins"]]
    for part, prefix in parts:
        group = part["leftFeatureGroup"]
        for feature in part["leftFeatures"]:
            at = (feature["name"], group["id"])
            marks = {mark: at in found or (at[0], None) in found for mark, found in marked.items()}
            features.append({**_feature_of(feature, group, prefix, len(features)), **marks})
    names = [feature["name"] for feature in features]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RefusedError(400, 270182, "Feature names are ambiguous, joins need prefixes.", ", ".join(sorted(twice)))
    return features


def _feature_of(feature: dict[str, Any], group: dict[str, Any], prefix: str, index: int) -> dict[str, Any]:
    told = {
        "name": prefix + feature["name"],
        "type": feature["type"],
        "index": index,
        "featuregroup": group,
        "featureGroupFeatureName": feature["name"],
    }
    function = _function_of(group, feature["name"]) if feature["onDemand"] else None
    if function is not None:
        told["transformationFunction"] = _prefixed(function, prefix)
    return told


def _function_of(group: dict[str, Any], output: str) -> dict[str, Any] | None:
    for function in group["transformationFunctions"]:
        if output in function["hopsworksUdf"]["outputColumnNames"]:
            return function
    return None


def _prefixed(function: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**function, "hopsworksUdf": {**function["hopsworksUdf"], "featureNamePrefix": prefix or None}}


def _functions_in(view: dict[str, Any]) -> list[dict[str, Any]]:
    functions = {}
    for feature in view["features"]:
        if function := feature.get("transformationFunction"):
            functions[function["id"]] = function
    return list(functions.values())


def _current(state: Metadata, view: dict[str, Any]) -> dict[str, Any]:
    """Return the view as its groups are now; refuses a view of a deleted group."""
    for feature in view["features"]:
        state.group_of(feature["featuregroup"]["id"])
    return view

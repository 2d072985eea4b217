"""Feature groups: created, read, extended and deleted, with the checks that Hopsworks makes."""

from __future__ import annotations

import re
from typing import Any

from tests.hopsworks.avro import schema_of
from tests.hopsworks.metadata import PROJECT_ID, STORE_ID, USER, Metadata, no_group
from tests.hopsworks.online import NotARowError
from tests.hopsworks.routes import STORE, RefusedError, Routes, body_of, number
from tests.hopsworks.wire import Request

GROUPS = Routes()
_ALL = STORE + "/featuregroups"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_TYPES = re.compile(
    r"(double|float|bigint|int|smallint|tinyint|boolean|string|binary|date|timestamp|decimal\(\d+,\s?\d+\)|(array|struct|map)<.+>)"
)
_ONLINE = {"string": "varchar(100)", "binary": "varbinary(100)", "boolean": "tinyint"}
_SIZED = re.compile(r"var(?:char|binary)\((\d+)\)")
_LONGEST_ROW = 30_000


@GROUPS.on("GET", _ALL)
def every_group(state: Metadata, _request: Request, project: str, store: str) -> dict[str, Any]:
    return {"count": len(state.groups), "items": list(state.groups.values())}


@GROUPS.on("GET", _ALL + "/{name}")
def groups_named(state: Metadata, request: Request, project: str, store: str, name: str) -> Any:
    if name.isdigit():
        return state.group_of(int(name))
    versions = [number(text) for text in request.query.get("version", [])]
    found = [g for g in state.groups.values() if g["name"] == name and (not versions or g["version"] in versions)]
    if not found:
        raise no_group(name)
    return found


@GROUPS.on("POST", _ALL)
def create_group(state: Metadata, request: Request, project: str, store: str) -> dict[str, Any]:
    told = body_of(request, name=str, type=str, features=list, onlineEnabled=bool, featurestoreId=int)
    _check_kind(told)
    known = [group["version"] for group in state.groups.values() if group["name"] == told["name"]]
    version = told.get("version") or max(known, default=0) + 1
    if version in known:
        raise RefusedError(
            400, 270089, "The feature group you are trying to create does already exist.", f"{told['name']} {version}"
        )
    group_id = next(state.ids)
    group = {
        **{name: value for name, value in told.items() if value is not None},
        "id": group_id,
        "version": version,
        "featurestoreName": f"{state.project}_featurestore",
        "features": _features_of(told),
        "transformationFunctions": [_function_of(state, one) for one in told.get("transformationFunctions") or ()],
        "location": f"hopsfs://stand-in/{told['name']}_{version}",
        "created": "2026-01-01T00:00:00Z",
        "creator": {"username": USER, "email": f"{USER}@localhost"},
        "deprecated": False,
    }
    if told["onlineEnabled"] or told["type"] == "streamFeatureGroupDTO":
        group["onlineTopicName"] = f"{PROJECT_ID}_{group_id}_{told['name']}_{version}_onlinefs"
        group["topicName"] = group["onlineTopicName"]
        if told["onlineEnabled"]:
            _declare(state, group)
        if state.create_topic is not None:
            state.create_topic(group["onlineTopicName"])
    state.groups[group_id] = group
    return group


@GROUPS.on("PUT", _ALL + "/{group}")
def update_group(state: Metadata, request: Request, project: str, store: str, group: str) -> dict[str, Any]:
    """Append features or change what is said of the group; what is there keeps its type."""
    kept = state.group_of(number(group))
    told = body_of(request, features=list)
    if "updateMetadata" in request.query:
        _append(state, kept, told)
        kept["description"] = told.get("description", kept.get("description"))
    elif "deprecate" in request.query:
        kept["deprecated"] = request.query["deprecate"] == ["True"]
    elif "updateStatsConfig" in request.query:
        kept["statisticsConfig"] = told.get("statisticsConfig")
    else:
        raise RefusedError(400, 120001, "What is to be updated?", ", ".join(request.query))
    return kept


@GROUPS.on("DELETE", _ALL + "/{group}")
def delete_group(state: Metadata, request: Request, project: str, store: str, group: str) -> None:
    kept = state.group_of(number(group))
    users = [view["name"] for view in state.views.values() if kept["id"] in _groups_in(view)]
    if users and "force" not in request.query:
        raise RefusedError(400, 270291, "The feature group is used by feature views.", ", ".join(users))
    del state.groups[kept["id"]]
    if state.sql is not None and kept["id"] in state.online.tables:
        state.sql.drop(kept)
    state.online.drop(kept["id"])


@GROUPS.on("POST", _ALL + "/{group}/clear")
def clear_group(state: Metadata, _request: Request, project: str, store: str, group: str) -> None:
    kept = state.group_of(number(group))
    if state.sql is not None and kept["id"] in state.online.tables:
        state.sql.drop(kept, rows_only=True)
    state.online.clear(kept["id"])


@GROUPS.on("GET", _ALL + "/{group}/expectationsuite")
def expectations(state: Metadata, _request: Request, project: str, store: str, group: str) -> dict[str, Any]:
    state.group_of(number(group))
    return {"items": [], "count": 0}


@GROUPS.on("POST", _ALL + "/{group}/online_ingestion")
def begin_ingestion(state: Metadata, request: Request, project: str, store: str, group: str) -> dict[str, Any]:
    kept = state.group_of(number(group))
    told = body_of(request)
    ingestion = {
        "id": next(state.ids),
        "numEntries": told.get("numEntries"),
        "featureGroupId": kept["id"],
        "results": [],
    }
    state.ingestions[ingestion["id"]] = ingestion
    return ingestion


@GROUPS.on("GET", _ALL + "/{group}/online_ingestion")
def ingestions(state: Metadata, request: Request, project: str, store: str, group: str) -> dict[str, Any]:
    kept = state.group_of(number(group))
    found = [one for one in state.ingestions.values() if one["featureGroupId"] == kept["id"]]
    for asked in request.query.get("filter_by", []):
        kind, _, value = asked.partition(":")
        found = found[-1:] if kind == "LATEST" else [one for one in found if str(one["id"]) == value]
    return {"count": len(found), "items": found}


@GROUPS.on("GET", STORE + "/kafka/subjects/{subject}/versions/latest")
def subject_of(state: Metadata, _request: Request, project: str, store: str, subject: str) -> dict[str, Any]:
    for group in state.groups.values():
        if subject == f"{group['name']}_{group['version']}":
            return {"id": 1000 + group["id"], "subject": subject, "version": 1, "schema": schema_of(group)}
    raise RefusedError(404, 190009, "Subject not found.", subject)


def _check_kind(told: dict[str, Any]) -> None:
    if not _NAME.fullmatch(told["name"]):
        raise RefusedError(400, 270038, "Illegal feature group name.", told["name"])
    if told["featurestoreId"] != STORE_ID:
        raise RefusedError(404, 270091, "Featurestore wasn't found.", f"feature store {told['featurestoreId']}")
    if told["type"] not in ("streamFeatureGroupDTO", "cachedFeaturegroupDTO"):
        raise RefusedError(400, 270056, "Illegal feature group type.", told["type"])
    if told.get("timeTravelFormat") == "DELTA":
        raise RefusedError(400, 120001, "This cluster keeps no DELTA tables.", "use HUDI, ICEBERG or NONE")
    if not told["features"]:
        raise RefusedError(400, 270103, "A feature group needs features.", told["name"])
    if told["onlineEnabled"] and not any(feature.get("primary") for feature in told["features"]):
        raise RefusedError(400, 270105, "An online feature group needs a primary key.", told["name"])
    names = [feature.get("name") for feature in told["features"]]
    if told.get("eventTime") and told["eventTime"] not in names:
        raise RefusedError(400, 270128, "The event time is no feature of the group.", told["eventTime"])
    if len(set(names)) != len(names):
        raise RefusedError(400, 270104, "A feature is named twice.", told["name"])


def _features_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    features = [_feature_of(feature) for feature in told["features"]]
    for function in told.get("transformationFunctions") or ():
        udf = function["hopsworksUdf"]
        for name, kind in zip(udf["outputColumnNames"], udf["outputTypes"], strict=True):
            if name not in {feature["name"] for feature in features}:
                features.append(_feature_of({"name": name, "type": kind, "onDemand": True}))
    if told.get("timeTravelFormat") == "HUDI" and not any(feature["hudiPrecombineKey"] for feature in features):
        features[0]["hudiPrecombineKey"] = True
    longest = sum(int(size) for f in features for size in _SIZED.findall(f["onlineType"])) + 8 * len(features)
    if told["onlineEnabled"] and longest > _LONGEST_ROW:
        raise RefusedError(400, 270168, "The online row is too long.", f"{longest} bytes, at most {_LONGEST_ROW}")
    return features


def _feature_of(told: dict[str, Any]) -> dict[str, Any]:
    name, kind = told.get("name"), str(told.get("type", "")).lower()
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RefusedError(400, 270040, "Illegal feature name.", str(name))
    if not _TYPES.fullmatch(kind):
        raise RefusedError(400, 270083, "Illegal feature type.", f"{name}: {kind}")
    return {
        "name": name,
        "type": kind,
        "description": told.get("description"),
        "primary": bool(told.get("primary")),
        "partition": bool(told.get("partition")),
        "hudiPrecombineKey": bool(told.get("hudiPrecombineKey")),
        "onDemand": bool(told.get("onDemand")),
        "onlineType": told.get("onlineType") or _ONLINE.get(kind, kind),
        "defaultValue": told.get("defaultValue"),
    }


def _function_of(state: Metadata, told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "id": next(state.ids), "version": told.get("version") or 1, "featurestoreId": STORE_ID}


def _append(state: Metadata, kept: dict[str, Any], told: dict[str, Any]) -> None:
    features = [_feature_of(feature) for feature in told["features"]]
    for had, new in zip(kept["features"], features, strict=False):
        if (had["name"], had["type"]) != (new["name"], new["type"]):
            raise RefusedError(400, 270101, "Features can only be appended.", had["name"])
    if len(features) < len(kept["features"]):
        raise RefusedError(400, 270101, "Features can only be appended.", kept["features"][len(features)]["name"])
    kept["features"] = [
        {**new, "onDemand": had["onDemand"]} for had, new in zip(kept["features"], features, strict=False)
    ]
    kept["features"] += features[len(kept["features"]) :]
    if kept["onlineEnabled"]:
        _declare(state, kept)


def _declare(state: Metadata, group: dict[str, Any]) -> None:
    stored = [feature for feature in group["features"] if not feature["onDemand"]]
    key = [feature["name"] for feature in stored if feature["primary"]]
    try:
        state.online.declare(group["id"], {f["name"]: f["type"] for f in stored}, key, group.get("eventTime"))
    except NotARowError as wrong:
        raise RefusedError(400, 270105, "The online table cannot be made.", str(wrong)) from wrong
    if state.sql is not None:
        state.sql.declare(group)


def _groups_in(view: dict[str, Any]) -> set[int]:
    return {feature["featuregroup"]["id"] for feature in view["features"]}

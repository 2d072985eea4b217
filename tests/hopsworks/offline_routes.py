"""The control plane of the offline store: queries are signed for the query service, and jobs are done at once."""

from __future__ import annotations

from typing import Any

from tests.hopsworks.metadata import Metadata
from tests.hopsworks.offline import DOMAIN
from tests.hopsworks.routes import PROJECT, STORE, RefusedError, Routes, body_of, number
from tests.hopsworks.wire import Request

OFFLINE = Routes()
_JOBS = PROJECT + "/jobs/{job}"
_LOG = "Logs/out"
#: A query for Spark, which this cluster has not.
_NO_TABLES: dict[str, Any] = {"query": "SELECT", "onDemandFeatureGroups": [], "hudiCachedFeatureGroups": []}


@OFFLINE.on("GET", "/variables/enable_flyingduck")
def is_enabled(state: Metadata, _request: Request) -> dict[str, str]:
    return {"successMessage": "true" if state.queries else "false"}


@OFFLINE.on("GET", "/variables/loadbalancer_external_domain_feature_query")
def query_host(state: Metadata, _request: Request) -> dict[str, str]:
    if not state.queries:
        raise RefusedError(404, 100045, "Variable not found.", "this cluster runs without the query service")
    return {"successMessage": state.queries.host}


@OFFLINE.on("GET", "/variables/service_discovery_domain")
def domain(_state: Metadata, _request: Request) -> dict[str, str]:
    return {"successMessage": DOMAIN}


@OFFLINE.on("PUT", PROJECT + "/featurestores/query")
def construct_query(state: Metadata, request: Request, project: str) -> dict[str, Any]:
    told = body_of(request, leftFeatureGroup=dict, leftFeatures=list, joins=list)
    if told["joins"]:
        raise RefusedError(400, 120001, "This cluster reads one feature group at a time.")
    group = state.group_of(number(str(told["leftFeatureGroup"].get("id"))))
    names = [feature["name"] for feature in told["leftFeatures"]]
    unknown = set(names) - {feature["name"] for feature in group["features"]}
    if unknown:
        raise RefusedError(400, 270103, "Feature not found.", ", ".join(sorted(unknown)))
    if request.query.get("hqs") != ["True"] or not state.queries:
        return _NO_TABLES
    signed = state.queries.signed({"group": group["id"], "features": names, "filter": told.get("filter")})
    return {**_NO_TABLES, **signed}


@OFFLINE.on("GET", _JOBS)
def job_named(state: Metadata, _request: Request, project: str, job: str) -> dict[str, Any]:
    told = {"id": _group_of(state, job)["id"], "name": job, "creationTime": "2026-01-01T00:00:00Z", "jobType": "SPARK"}
    return {**told, "config": {"defaultArgs": "-op offline_fg_materialization"}, "creator": {}}


@OFFLINE.on("GET", _JOBS + "/executions")
def executions(state: Metadata, _request: Request, project: str, job: str) -> dict[str, Any]:
    found = [_execution(state, one) for one, name in state.executions.items() if name == job]
    return {"count": len(found), "items": found[-1:]}


@OFFLINE.on("POST", _JOBS + "/executions")
def execute(state: Metadata, request: Request, project: str, job: str) -> dict[str, Any]:
    job_named(state, request, project, job)
    log = state.files / _LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    state.executions[begun := next(state.ids)] = job
    return _execution(state, begun)


@OFFLINE.on("GET", _JOBS + "/executions/{execution}")
def execution(state: Metadata, _request: Request, project: str, job: str, execution: str) -> dict[str, Any]:
    if state.executions.get(number(execution)) != job:
        raise RefusedError(404, 130010, "Execution not found.", job)
    return _execution(state, number(execution))


@OFFLINE.on("POST", STORE + "/featuregroups/{group}/updatetableschema")
def update_table_schema(state: Metadata, request: Request, project: str, store: str, group: str) -> dict[str, Any]:
    """Begin the job that gives the offline table a group's new features."""
    kept = state.group_of(number(group))
    job = f"{kept['name']}_{kept['version']}_offline_fg_materialization"
    execute(state, request, project, job)
    return job_named(state, request, project, job)


def _execution(state: Metadata, begun: int) -> dict[str, Any]:
    """Return an execution, which is done once the group's topic holds nothing that was not applied."""
    behind = state.behind is not None and state.behind(_group_of(state, state.executions[begun])["onlineTopicName"])
    states = ("RUNNING", "UNDEFINED") if behind else ("FINISHED", "SUCCEEDED")
    told = {"id": begun, "submissionTime": "2026-01-01T00:00:00Z", "stdoutPath": _LOG, "stderrPath": _LOG}
    return {**told, "state": states[0], "finalStatus": states[1]}


def _group_of(state: Metadata, job: str) -> dict[str, Any]:
    for group in state.groups.values():
        if job == f"{group['name']}_{group['version']}_offline_fg_materialization":
            return group
    raise RefusedError(404, 130009, "Job not found.", job)

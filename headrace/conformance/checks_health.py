"""Health and metadata: what a server and a model say of themselves before they are asked anything."""

from __future__ import annotations

from typing import Any

from headrace.conformance.answers import json_of, nulls, object_of, refused
from headrace.conformance.judging import Check, Finding, Level, NotJudged, NotOffered, checks_of
from headrace.conformance.sampling import DATATYPES
from headrace.conformance.server import Server

_check = checks_of("health and metadata")
NOBODY = "headrace-no-such-model"


@_check("REST-001 live", Level.MUST, "GET v2/health/live answers 200 while the server is up")
def _live(server: Server) -> None:
    _is_200(server, "/v2/health/live")


@_check("REST-002 ready", Level.MUST, "GET v2/health/ready answers 200 once all models are ready")
def _ready(server: Server) -> None:
    _is_200(server, "/v2/health/ready")


@_check("REST-003 model-ready", Level.MUST, "GET v2/models/MODEL/ready answers 200 once the model is ready")
def _model_ready(server: Server) -> None:
    _is_200(server, f"{server.path}/ready")


@_check("REST-004 no-model-ready", Level.MUST, "a model that is not there is not ready: any status but 200")
def _no_model_ready(server: Server) -> None:
    status = server.get(f"/v2/models/{NOBODY}/ready").status
    if status == 200:
        raise Finding("a model that is not there is ready")
    if status >= 500:
        raise Finding(f"the status is {status}, needs 4xx", Level.SHOULD)


@_check("REST-005 live-object", Level.EXTENSION, 'KServe\'s clients read {"live": true} and {"ready": true}')
def _live_object(server: Server) -> None:
    for path, member in (("live", "live"), ("ready", "ready")):
        said = server.get(f"/v2/health/{path}")
        if not said.body:
            raise NotOffered("the answer is empty, as the protocol allows")
        found = json_of(said)
        if not isinstance(found, dict) or found.get(member) is not True:
            raise Finding(f"the answer has no {member!r} that is true")


@_check("REST-010 server-metadata", Level.MUST, "GET v2 answers name, version and extensions")
def _server_metadata(server: Server) -> None:
    found = object_of(server.get("/v2"))
    for key in ("name", "version"):
        if not isinstance(found.get(key), str):
            raise Finding(f"{key} is {found.get(key)!r}, needs a string")
    extensions = found.get("extensions")
    if not isinstance(extensions, list) or not all(isinstance(each, str) for each in extensions):
        raise Finding("extensions are no list of strings")


@_check("REST-011 binary-advertised", Level.SHOULD, "who answers binary data names binary_tensor_data in extensions")
def _binary_advertised(server: Server) -> None:
    if "binary_tensor_data" in server.extensions:
        return
    if server.post_binary(*server.binary()).status != 200:
        raise NotOffered("binary data are neither advertised nor answered")
    raise Finding("binary data are answered, and binary_tensor_data is not among the extensions")


@_check("REST-012 model-metadata", Level.MUST, "GET v2/models/MODEL answers the model's name and platform")
def _model_metadata(server: Server) -> None:
    found = object_of(server.get(server.path))
    if found.get("name") != server.model:
        raise Finding(f"the name is {found.get('name')!r}, needs {server.model!r}")
    if not isinstance(found.get("platform"), str):
        raise Finding(f"the platform is {found.get('platform')!r}, needs a string")
    versions = found.get("versions")
    if versions is not None and not (isinstance(versions, list) and all(isinstance(each, str) for each in versions)):
        raise Finding("the versions are no list of strings")


@_check("REST-013 metadata-inputs", Level.MUST, "the metadata list the model's inputs and outputs")
def _metadata_inputs(server: Server) -> None:
    for side in ("inputs", "outputs"):
        tensors = server.metadata.get(side)
        if not isinstance(tensors, list) or not tensors:
            raise Finding(f"the metadata list no {side}")


@_check("REST-014 metadata-tensors", Level.MUST, "a tensor has name, datatype and shape, -1 for open lengths")
def _metadata_tensors(server: Server) -> None:
    tensors = [tensor for side in ("inputs", "outputs") for tensor in server.metadata.get(side) or ()]
    if not tensors:
        raise NotJudged("the metadata list no tensors")
    for tensor in tensors:
        if not _described(tensor):
            raise Finding(f"a tensor is described as {str(tensor)[:100]}")


@_check("REST-015 metadata-nulls", Level.MUST, "members that are not there are left out, not null")
def _metadata_nulls(server: Server) -> None:
    found = [*nulls(server.metadata), *nulls(object_of(server.get("/v2")))]
    if found:
        raise Finding(f"null: {', '.join(found)}")


@_check("REST-016 metadata-no-model", Level.MUST, "the metadata of no model are refused with an error object")
def _metadata_no_model(server: Server) -> None:
    refused(server.get(f"/v2/models/{NOBODY}"))


@_check("REST-017 route-unknown", Level.SHOULD, "a path that is not of the protocol is refused as 4xx")
def _route_unknown(server: Server) -> None:
    for path in ("/v2/models/%2e%2e%2f%2e%2e%2fetc/ready", f"{server.path}/no-such-thing", "/v2/no-such-thing"):
        status = server.get(path).status
        if not 400 <= status < 500:
            raise Finding(f"the status of {path} is {status}, needs 4xx")


@_check("REST-018 method-wrong", Level.SHOULD, "a method that a path does not have is refused as 4xx")
def _method_wrong(server: Server) -> None:
    for method, path in (("GET", f"{server.path}/infer"), ("POST", "/v2/health/live"), ("DELETE", server.path)):
        status = server.wire.ask(method, path).status
        if not 400 <= status < 500:
            raise Finding(f"the status of {method} {path} is {status}, needs 4xx")


def _offer(label: str, rule: str, method: str, path: str) -> Check:
    @_check(label, Level.EXTENSION, rule)
    def offered(server: Server) -> None:
        said = server.wire.ask(method, path.format(model=server.path), b"" if method == "GET" else b"{}")
        if 400 <= said.status < 500 or said.status == 501:
            raise NotOffered(f"the status is {said.status}")
        if said.status != 200 or not isinstance(json_of(said), dict | list):
            raise Finding(f"the status is {said.status}, needs 200 with JSON")

    return offered


def _is_200(server: Server, path: str) -> None:
    status = server.get(path).status
    if status != 200:
        raise Finding(f"the status is {status}, needs 200")


def _described(tensor: Any) -> bool:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        return False
    shape = tensor.get("shape")
    known = isinstance(tensor.get("datatype"), str) and tensor["datatype"] in DATATYPES
    return known and isinstance(shape, list) and all(type(length) is int and length >= -1 for length in shape)


CHECKS: tuple[Check, ...] = (
    _live,
    _ready,
    _model_ready,
    _no_model_ready,
    _live_object,
    _server_metadata,
    _binary_advertised,
    _model_metadata,
    _metadata_inputs,
    _metadata_tensors,
    _metadata_nulls,
    _metadata_no_model,
    _route_unknown,
    _method_wrong,
    _offer("REST-020 model-list", "KServe's GET v2/models lists the models", "GET", "/v2/models"),
    _offer("REST-021 index", "Triton's POST v2/repository/index lists the models", "POST", "/v2/repository/index"),
    _offer("REST-022 config", "Triton's GET v2/models/MODEL/config", "GET", "{model}/config"),
    _offer("REST-023 statistics", "Triton's GET v2/models/MODEL/stats", "GET", "{model}/stats"),
)

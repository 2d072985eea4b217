"""Inference in JSON: requests that are right, in every form the protocol gives them, and what must be in an answer."""

from __future__ import annotations

import json

from headrace.conformance.answers import answer_of, nulls, object_of, refused
from headrace.conformance.checks_health import NOBODY
from headrace.conformance.judging import Check, Finding, Level, NotJudged, checks_of
from headrace.conformance.server import JSON, Server

_check = checks_of("inference in JSON")


@_check("REST-030 infer", Level.MUST, "a request is answered 200 with model_name and outputs")
def _infer(server: Server) -> None:
    answer = answer_of(server.ask_plainly())
    if answer.head.get("model_name") != server.model:
        raise Finding(f"model_name is {answer.head.get('model_name')!r}, needs {server.model!r}")
    server.same(answer)


@_check("REST-031 answer-nulls", Level.MUST, "members that an answer has not are left out, not null")
def _answer_nulls(server: Server) -> None:
    found = list(nulls(object_of(server.post(server.content()))))
    if found:
        raise Finding(f"null: {', '.join(found)}")


@_check("REST-032 answer-type", Level.SHOULD, "an answer in JSON has the Content-Type application/json")
def _answer_type(server: Server) -> None:
    said = server.post(server.content()).headers.get("content-type", "")
    if said.partition(";")[0].strip().lower() != "application/json":
        raise Finding(f"the Content-Type is {said!r}")


@_check("REST-033 outputs-declared", Level.SHOULD, "outputs are those of the metadata, in datatype and shape")
def _outputs_declared(server: Server) -> None:
    declared = {tensor["name"]: tensor for tensor in server.metadata.get("outputs") or () if "name" in tensor}
    if not declared:
        raise NotJudged("the metadata list no outputs")
    for name, tensor in answer_of(server.post(server.content())).outputs.items():
        if name not in declared:
            raise Finding(f"output {name!r} is not in the metadata")
        shape, datatype = declared[name].get("shape"), declared[name].get("datatype")
        if datatype != tensor.datatype or not _fits(tensor.shape, shape):
            raise Finding(
                f"output {name!r} is {tensor.datatype} {list(tensor.shape)}, its metadata say {datatype} {shape}"
            )


@_check("REST-034 data-nested", Level.MUST, "data may be nested as the shape says, or flat: the answer is the same")
def _nested(server: Server) -> None:
    content = server.content(nested=True)
    if all(len(tensor.shape) < 2 for tensor in server.sample):
        raise NotJudged("no input has two dimensions")
    server.same(answer_of(server.post(content)))


@_check("REST-035 id-echoed", Level.MUST, "the id of a request is the id of its answer")
def _id_echoed(server: Server) -> None:
    for given in ("42", "r-\u00e9 \u4e2d/1"):
        found = answer_of(server.post(server.content(id=given))).head.get("id")
        if found != given:
            raise Finding(f"the id is {found!r}, needs {given!r}")


@_check("REST-036 id-not-invented", Level.MUST, "a request without an id has an answer without one")
def _id_not_invented(server: Server) -> None:
    found = answer_of(server.post(server.content())).head.get("id")
    if found:
        raise Finding("the answer has an id, the request had none")


@_check("REST-037 parameters", Level.MUST, "parameters are strings, numbers or booleans, and unknown ones do no harm")
def _parameters(server: Server) -> None:
    content = server.content()
    told = {"headrace_a": "text", "headrace_b": 7, "headrace_c": True, "headrace_d": 0.5}
    content["parameters"] = content.get("parameters", {}) | told
    for tensor in content["inputs"]:
        tensor["parameters"] = told
    server.same(answer_of(server.post(content)))


@_check("REST-038 members-order", Level.MUST, "the members of a JSON object have no order, and blanks do no harm")
def _members_order(server: Server) -> None:
    content = server.content()
    content["inputs"] = [dict(reversed(tensor.items())) for tensor in content["inputs"]]
    server.same(answer_of(server.post(b"\r\n\t " + json.dumps(content, indent=3).encode() + b" \n")))


@_check("REST-039 output-one", Level.MUST, "only the outputs that were asked for are answered")
def _output_one(server: Server) -> None:
    name = _names(server)[0]
    found = list(answer_of(server.post(server.content(outputs=[{"name": name}]))).outputs)
    if found != [name]:
        raise Finding(f"the outputs are {', '.join(found) or 'none'}, needs {name} alone")


@_check("REST-040 outputs-all", Level.MUST, "outputs may be asked for by name in any order")
def _outputs_all(server: Server) -> None:
    names = _names(server)
    if len(names) < 2:
        raise NotJudged("the model has one output")
    server.same(answer_of(server.post(server.content(outputs=[{"name": name} for name in reversed(names)]))))


@_check("REST-041 output-unknown", Level.MUST, "an output that the model does not have is refused")
def _output_unknown(server: Server) -> None:
    refused(server.post(server.content(outputs=[{"name": "headrace-no-such-output"}])))


@_check("REST-042 model-unknown", Level.MUST, "an inference of no model is refused with an error object")
def _model_unknown(server: Server) -> None:
    refused(server.post(server.content(), path=f"/v2/models/{NOBODY}/infer"))


@_check(
    "REST-043 type-left-out",
    Level.SHOULD,
    "a request without a Content-Type is read: Triton's clients send none",
)
def _type_left_out(server: Server) -> None:
    server.same(answer_of(server.post(server.content(), headers=())))


@_check("REST-044 type-charset", Level.SHOULD, "Content-Type may carry a charset, and is told in any case of letters")
def _type_charset(server: Server) -> None:
    server.same(
        answer_of(server.post(server.content(), headers=(("CONTENT-TYPE", "Application/JSON; charset=UTF-8"),)))
    )


@_check("REST-045 answer-encoding", Level.SHOULD, "an answer is compressed only if the request accepts it")
def _answer_encoding(server: Server) -> None:
    said = server.post(server.content(), headers=(*JSON, ("Accept-Encoding", "identity")))
    if said.headers.get("content-encoding", "identity") != "identity":
        raise Finding(f"the answer is {said.headers['content-encoding']}")


@_check("REST-050 version", Level.MUST, "every version that the metadata name has metadata, is ready and answers")
def _version(server: Server) -> None:
    for version in server.versions:
        path = f"{server.path}/versions/{version}"
        if object_of(server.get(path)).get("name") != server.model:
            raise Finding(f"the metadata of version {version} have another name")
        if server.get(f"{path}/ready").status != 200:
            raise Finding(f"version {version} is named and not ready")
        said = answer_of(server.post(server.content(), path=f"{path}/infer")).head.get("model_version")
        if said != version:
            raise Finding(f"version {version} answers as version {said!r}")


@_check("REST-051 version-unknown", Level.MUST, "a version that is not there is refused with an error object")
def _version_unknown(server: Server) -> None:
    refused(server.get(f"{server.path}/versions/987654321"))
    refused(server.post(server.content(), path=f"{server.path}/versions/987654321/infer"))


@_check("REST-052 version-unready", Level.MUST, "a version that is not there is not ready: any status but 200")
def _version_unready(server: Server) -> None:
    if server.get(f"{server.path}/versions/987654321/ready").status == 200:
        raise Finding("a version that is not there is ready")


def _names(server: Server) -> list[str]:
    if server.first is None:
        raise NotJudged(server.why_unasked)
    return list(server.first.outputs)


def _fits(shape: tuple[int, ...], declared: object) -> bool:
    if not isinstance(declared, list) or len(declared) != len(shape):
        return False
    return all(wanted in (-1, length) for length, wanted in zip(shape, declared, strict=True))


CHECKS: tuple[Check, ...] = (
    _infer,
    _answer_nulls,
    _answer_type,
    _outputs_declared,
    _nested,
    _id_echoed,
    _id_not_invented,
    _parameters,
    _members_order,
    _output_one,
    _outputs_all,
    _output_unknown,
    _model_unknown,
    _type_left_out,
    _type_charset,
    _answer_encoding,
    _version,
    _version_unknown,
    _version_unready,
)

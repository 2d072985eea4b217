"""The gRPC service: the same model under the same rules, with status codes in place of error objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.conformance.checks_health import NOBODY
from headrace.conformance.grpc_requests import answer_of, message, request
from headrace.conformance.grpc_wire import Refused
from headrace.conformance.judging import Check, Finding, Level, NotOffered, checks_of
from headrace.conformance.server import Server

_check = checks_of("gRPC")
#: How a server says that it has no such call, or keeps it to itself.
_CLOSED = ("UNIMPLEMENTED", "UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED")


@_check("GRPC-001 live", Level.MUST, "ServerLive says true while the server is up")
def _live(server: Server) -> None:
    _true(server.grpc.call("ServerLive", message("ServerLiveRequest")).live)


@_check("GRPC-002 ready", Level.MUST, "ServerReady says true once all models are ready")
def _ready(server: Server) -> None:
    _true(server.grpc.call("ServerReady", message("ServerReadyRequest")).ready)


@_check("GRPC-003 model-ready", Level.MUST, "ModelReady says true once the model is ready")
def _model_ready(server: Server) -> None:
    _true(server.grpc.call("ModelReady", message("ModelReadyRequest", name=server.model)).ready)


@_check("GRPC-004 no-model-ready", Level.MUST, "a model that is not there is not ready: false, or NOT_FOUND")
def _no_model_ready(server: Server) -> None:
    try:
        ready = server.grpc.call("ModelReady", message("ModelReadyRequest", name=NOBODY)).ready
    except Refused as refusal:
        _code(refusal, "NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE")
        return
    if ready:
        raise Finding("a model that is not there is ready")


@_check("GRPC-005 server-metadata", Level.MUST, "ServerMetadata says name, version and extensions as REST does")
def _server_metadata(server: Server) -> None:
    found = server.grpc.call("ServerMetadata", message("ServerMetadataRequest"))
    if not found.name:
        raise Finding("the server has no name")


@_check("GRPC-006 model-metadata", Level.MUST, "ModelMetadata says name, platform, inputs and outputs as REST does")
def _model_metadata(server: Server) -> None:
    found = server.grpc.call("ModelMetadata", message("ModelMetadataRequest", name=server.model))
    if found.name != server.model:
        raise Finding(f"the name is {found.name!r}, needs {server.model!r}")
    for side in ("inputs", "outputs"):
        tensors = [(each.name, each.datatype, list(each.shape)) for each in getattr(found, side)]
        over_rest = [(each["name"], each["datatype"], each["shape"]) for each in server.metadata.get(side) or ()]
        if tensors != over_rest:
            raise Finding(f"the {side} are others than over REST")
        if not tensors:
            raise Finding(f"the metadata list no {side}")


@_check("GRPC-007 metadata-no-model", Level.MUST, "the metadata of no model are refused: NOT_FOUND")
def _no_metadata(server: Server) -> None:
    _refused(server, "ModelMetadata", message("ModelMetadataRequest", name=NOBODY), "NOT_FOUND")


@_check("GRPC-010 infer-raw", Level.MUST, "raw contents are answered as JSON is")
def _infer_raw(server: Server) -> None:
    server.same(answer_of(server.grpc.call("ModelInfer", request(server))))
    server.answered_grpc = True


@_check("GRPC-011 infer-typed", Level.MUST, "typed contents are answered as JSON is")
def _infer_typed(server: Server) -> None:
    server.same(answer_of(server.grpc.call("ModelInfer", request(server, raw=False))))


@_check("GRPC-012 id", Level.MUST, "the id of a request is that of its answer, and none is invented")
def _id(server: Server) -> None:
    for given in ("42", ""):
        found = server.grpc.call("ModelInfer", request(server, id=given)).id
        if found != given:
            raise Finding(f"the answer has the id {found!r}, needs {given!r}" if given else "an id was invented")


@_check("GRPC-013 parameters", Level.MUST, "all five kinds of parameters may be there, and unknown ones do no harm")
def _parameters(server: Server) -> None:
    asking = request(server)
    kinds = {"bool": True, "int64": -7, "string": "text", "double": 0.5, "uint64": 2**63 + 1}
    for kind, value in kinds.items():
        setattr(asking.parameters[f"headrace_{kind}"], f"{kind}_param", value)
    server.same(answer_of(server.grpc.call("ModelInfer", asking)))


@_check("GRPC-014 output-one", Level.MUST, "only the outputs that were asked for are answered")
def _output_one(server: Server) -> None:
    asking = request(server)
    name = next(iter(server.first.outputs)) if server.first else ""
    asking.outputs.add(name=name)
    found = [each.name for each in server.grpc.call("ModelInfer", asking).outputs]
    if found != [name]:
        raise Finding(f"the outputs are {', '.join(found) or 'none'}, needs {name} alone")


@_check("GRPC-015 version", Level.MUST, "every version that the metadata name answers as itself")
def _version(server: Server) -> None:
    for version in server.versions:
        found = server.grpc.call("ModelInfer", request(server, model_version=version)).model_version
        if found != version:
            raise Finding(f"version {version} answers as version {found!r}")


def _spoiled(label: str, level: Level, rule: str, change: Callable[[Any], None], *, raw: bool = True) -> Check:
    @_check(label, level, rule)
    def spoiled(server: Server) -> None:
        asking = request(server, raw=raw)
        change(asking)
        _refused(server, "ModelInfer", asking, "INVALID_ARGUMENT")

    return spoiled


def _missing(label: str, rule: str, **members: Any) -> Check:
    @_check(label, Level.MUST, rule)
    def missing(server: Server) -> None:
        asking = request(server)
        for key, value in members.items():
            setattr(asking, key, value)
        _refused(server, "ModelInfer", asking, "NOT_FOUND")

    return missing


def _reshape(*lengths: int) -> Callable[[Any], None]:
    def change(asking: Any) -> None:
        asking.inputs[0].shape[:] = lengths
        if asking.raw_input_contents:
            asking.raw_input_contents[0] = b""

    return change


def _cut(asking: Any) -> None:
    asking.raw_input_contents[0] = asking.raw_input_contents[0][:-1]


def _fewer(asking: Any) -> None:
    del asking.raw_input_contents[-1]
    asking.raw_input_contents.extend((b"", b"") if not asking.raw_input_contents else ())


def _both(asking: Any) -> None:
    asking.inputs[0].contents.fp32_contents.append(1.0)


def _typed_more(asking: Any) -> None:
    for kind, values in asking.inputs[0].contents.ListFields():
        getattr(asking.inputs[0].contents, kind.name).extend(list(values))


def _no_datatype(asking: Any) -> None:
    asking.inputs[0].datatype = "FP31"


def _twice(asking: Any) -> None:
    asking.inputs.append(asking.inputs[0])
    asking.raw_input_contents.append(asking.raw_input_contents[0])


def _no_inputs(asking: Any) -> None:
    del asking.inputs[:]
    del asking.raw_input_contents[:]


def _no_output(asking: Any) -> None:
    asking.outputs.add(name="headrace-no-such-output")


@_check("GRPC-033 garbage", Level.SHOULD, "bytes that are no message end the call and nothing else")
def _garbage(server: Server) -> None:
    for sent in (b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", bytes(1000)):
        try:
            server.grpc.raw("/inference.GRPCInferenceService/ModelInfer", sent)
        except Refused:
            continue
        raise Finding("bytes that are no message were answered OK")
    _live.run(server)


@_check("GRPC-040 health", Level.EXTENSION, "grpc.health.v1.Health says SERVING while the server is ready")
def _health(server: Server) -> None:
    said = _offered(server, lambda: server.grpc.raw("/grpc.health.v1.Health/Check", b""))
    if said != b"\x08\x01":
        raise Finding("the server is ready and does not say SERVING")


@_check("GRPC-041 reflection", Level.EXTENSION, "server reflection names inference.GRPCInferenceService")
def _reflection(server: Server) -> None:
    path = "/grpc.reflection.v1{}.ServerReflection/ServerReflectionInfo"
    try:
        said = server.grpc.streamed(path.format(""), b"\x3a\x00")
    except Refused:
        said = _offered(server, lambda: server.grpc.streamed(path.format("alpha"), b"\x3a\x00"))
    if b"inference.GRPCInferenceService" not in said:
        raise Finding("the services it lists lack inference.GRPCInferenceService")


@_check("GRPC-042 index", Level.EXTENSION, "RepositoryIndex lists the models, as Triton's does")
def _index(server: Server) -> None:
    found = _offered(server, lambda: server.grpc.call("RepositoryIndex", message("RepositoryIndexRequest")))
    if server.model not in [each.name for each in found.models]:
        raise Finding("the model is not in the index")


@_check("GRPC-043 config", Level.EXTENSION, "ModelConfig tells a model's configuration, as Triton's does")
def _config(server: Server) -> None:
    asking = message("ModelConfigRequest", name=server.model)
    if _offered(server, lambda: server.grpc.call("ModelConfig", asking)).config.name != server.model:
        raise Finding("the configuration is of another name")


def _true(said: bool) -> None:
    if not said:
        raise Finding("it says false")


def _offered(server: Server, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Refused as refusal:
        if refusal.code not in _CLOSED:
            raise
        raise NotOffered(refusal.code) from None


def _refused(server: Server, method: str, asking: Any, code: str) -> None:
    try:
        server.grpc.call(method, asking)
    except Refused as refusal:
        _code(refusal, code)
        return
    raise Finding(f"it was answered OK, needs {code}")


def _code(refusal: Any, *codes: str) -> None:
    if refusal.code not in codes:
        raise Finding(f"the code is {refusal.code}, needs {codes[0]}", Level.SHOULD)


MUST = Level.MUST
CHECKS: tuple[Check, ...] = (
    _live,
    _ready,
    _model_ready,
    _no_model_ready,
    _server_metadata,
    _model_metadata,
    _no_metadata,
    _infer_raw,
    _infer_typed,
    _id,
    _parameters,
    _output_one,
    _version,
    _missing("GRPC-016 model-unknown", "an inference of no model is refused: NOT_FOUND", model_name=NOBODY),
    _missing("GRPC-017 version-unknown", "an inference of no version is refused: NOT_FOUND", model_version="987654321"),
    _spoiled("GRPC-020 output-unknown", MUST, "an output that the model does not have is refused", _no_output),
    _spoiled("GRPC-021 inputs-empty", MUST, "a request without inputs is refused", _no_inputs),
    _spoiled("GRPC-022 raw-short", MUST, "raw contents are as long as shape and datatype say", _cut),
    _spoiled("GRPC-023 raw-count", MUST, "there are as many raw contents as inputs", _fewer),
    _spoiled("GRPC-024 raw-and-typed", MUST, "raw and typed contents do not stand in one request", _both),
    _spoiled("GRPC-025 typed-long", MUST, "typed contents are as many as the shape says", _typed_more, raw=False),
    _spoiled("GRPC-026 datatype-unknown", MUST, "a datatype is one of the protocol's", _no_datatype),
    _spoiled("GRPC-027 shape-negative", MUST, "the lengths of a shape are 0 or more", _reshape(-1, -1)),
    _spoiled("GRPC-028 shape-huge", MUST, "a shape larger than its data is refused at once", _reshape(2**31, 2**10)),
    _spoiled("GRPC-029 shape-overflow", MUST, "a shape whose product overflows is not empty", _reshape(2**32, 2**32)),
    _spoiled("GRPC-030 input-twice", Level.SHOULD, "every input is there once", _twice),
    _garbage,
    _health,
    _reflection,
    _index,
    _config,
)

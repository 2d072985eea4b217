"""Binary data: tensors as bytes behind the JSON part, as Triton has them and most clients send them.

Judged where the server advertises binary_tensor_data, or answers a request that has them.
"""

from __future__ import annotations

from typing import Any

from headrace.conformance.answers import HEADER_LENGTH, Answer, answer_of, refused
from headrace.conformance.http_wire import Said
from headrace.conformance.judging import Check, Finding, Level, NotJudged, NotOffered, checks_of
from headrace.conformance.sampling import BINARY_ONLY
from headrace.conformance.server import LENGTH, Server

_check = checks_of("binary data")
OCTETS = ("Content-Type", "application/octet-stream")


@_check("BIN-001 input", Level.EXTENSION, "inputs as binary data are answered as those in JSON")
def _input(server: Server) -> None:
    server.same(answer_of(_asked(server, server.post_binary(*server.binary()))))


@_check("BIN-002 input-mixed", Level.EXTENSION, "inputs in JSON and as binary data may stand in one request")
def _mixed(server: Server) -> None:
    names = [tensor.name for tensor in server.sample if tensor.datatype not in BINARY_ONLY]
    if len(server.sample) < 2 or not names:
        raise NotJudged("the model has no two inputs of which JSON can carry one")
    _offered(server)
    for name in (names[0], names[-1]):
        server.same(answer_of(server.post_binary(*server.binary(name))))


@_check(
    "BIN-003 outputs-all", Level.EXTENSION, "binary_data_output true has all outputs as binary data, JSON in or not"
)
def _output_default(server: Server) -> None:
    _offered(server)
    told = {"binary_data_output": True}
    for in_json in (tuple(tensor.name for tensor in server.sample if tensor.datatype not in BINARY_ONLY), ()):
        answer = answer_of(_in_binary(server.post_binary(*server.binary(*in_json, head={"parameters": told}))))
        if answer.binary != set(answer.outputs):
            raise Finding("some outputs are in JSON, needs all of them as binary data")
        server.same(answer)


@_check("BIN-004 output-one", Level.EXTENSION, "binary_data says how an output comes, whatever binary_data_output says")
def _output_one(server: Server) -> None:
    _offered(server)
    name = next(iter(server.first.outputs)) if server.first else ""
    for default, wanted in ((False, True), (True, False)):
        outputs = [{"name": name, "parameters": {"binary_data": wanted}}]
        answer = answer_of(server.post(server.content(outputs=outputs, parameters={"binary_data_output": default})))
        if (name in answer.binary) is not wanted:
            raise Finding(f"output {name!r} came {'in JSON' if wanted else 'as binary data'}")
        _one_output(server, answer, name)


@_check("BIN-005 json-padded", Level.EXTENSION, "blanks at the end of the JSON part do no harm")
def _padded(server: Server) -> None:
    _offered(server)
    head, raw = server.binary()
    server.same(answer_of(server.post_binary(head + b" " * (8 - len(head) % 8), raw)))


@_check(
    "BIN-006 type-left-out", Level.EXTENSION, "a request without a Content-Type is read: Triton's clients send none"
)
def _typeless(server: Server) -> None:
    _offered(server)
    head, raw = server.binary()
    server.same(answer_of(server.post(head + raw, ((LENGTH.upper(), str(len(head))),))))


@_check("BIN-007 raw", Level.EXTENSION, "a header length of 0 is a body that is the one input's bytes and nothing else")
def _raw(server: Server) -> None:
    if len(server.sample) != 1 or server.sample[0].datatype == "BYTES":
        raise NotJudged("the model has several inputs, or one of BYTES")
    _offered(server)
    said = server.post(server.sample[0].raw(), (OCTETS, (LENGTH, "0")))
    if 400 <= said.status < 500:
        raise NotOffered(f"the status is {said.status}")
    server.same(answer_of(said))


def _spoiled(label: str, rule: str, spoil: Any) -> Check:
    @_check(label, Level.EXTENSION, rule)
    def spoiled(server: Server) -> None:
        _offered(server)
        head, raw = server.binary()
        refused(spoil(server, head, raw))

    return spoiled


def _sized(size: Any) -> Any:
    def spoil(server: Server, head: bytes, raw: bytes) -> Said:
        first = b'"binary_data_size": %d' % len(server.sample[0].raw())
        return server.post_binary(head.replace(first, b'"binary_data_size": ' + size, 1), raw)

    return spoil


def _told(length: str) -> Any:
    return lambda server, head, raw: server.post_binary(head, raw, length)


def _surplus(server: Server, head: bytes, raw: bytes) -> Said:
    return server.post_binary(head, raw + b"1234")


def _overflowing(server: Server, head: bytes, raw: bytes) -> Said:
    shape = str(list(server.sample[0].shape)).encode()
    size = b'"binary_data_size": %d' % len(server.sample[0].raw())
    head = head.replace(shape, b"[4294967296, 4294967296]", 1).replace(size, b'"binary_data_size": 0', 1)
    return server.post_binary(head, raw[len(server.sample[0].raw()) :])


def _long_element(server: Server, head: bytes, raw: bytes) -> Said:
    at = 0
    for tensor in server.sample:
        data = tensor.raw()
        if tensor.datatype == "BYTES" and data:
            return server.post_binary(head, raw[:at] + b"\xff\xff\xff\xff" + raw[at + 4 :])
        at += len(data)
    raise NotJudged("no input is BYTES")


def _offered(server: Server) -> None:
    if "binary_tensor_data" in server.extensions or server.why_unasked:
        return
    _asked(server, server.post_binary(*server.binary()))


def _asked(server: Server, said: Said) -> Said:
    if 400 <= said.status < 500 and "binary_tensor_data" not in server.extensions:
        raise NotOffered(f"binary data are not advertised, and refused with {said.status}")
    return said


def _in_binary(said: Said) -> Said:
    if said.status == 200 and HEADER_LENGTH not in said.headers:
        raise Finding("the answer has no Inference-Header-Content-Length: its outputs are in JSON")
    kind = said.headers.get("content-type", "").partition(";")[0]
    if said.status == 200 and kind != "application/octet-stream":
        raise Finding(f"the answer's Content-Type is {kind!r}, needs application/octet-stream")
    return said


def _one_output(server: Server, answer: Answer, name: str) -> None:
    if server.first is not None:
        server.same({**server.first.outputs, **answer.outputs} if list(answer.outputs) == [name] else answer)


CHECKS: tuple[Check, ...] = (
    _input,
    _mixed,
    _output_default,
    _output_one,
    _padded,
    _typeless,
    _raw,
    _spoiled("BIN-010 cut", "binary data that end early are refused", lambda s, h, r: s.post_binary(h, r[:-1])),
    _spoiled("BIN-011 surplus", "bytes after the last tensor are refused", _surplus),
    _spoiled(
        "BIN-012 header-beyond",
        "a header length beyond the body is refused",
        lambda s, h, r: s.post_binary(h, r, str(len(h) + len(r) + 1)),
    ),
    _spoiled("BIN-013 header-text", "a header length that is no number is refused", _told("x1")),
    _spoiled("BIN-014 header-negative", "a negative header length is refused", _told("-5")),
    _spoiled(
        "BIN-015 header-huge",
        "a header length of twenty digits is refused",
        _told("9" * 20),
    ),
    _spoiled("BIN-016 header-short", "a header length inside the JSON is refused", _told("7")),
    _spoiled("BIN-017 size-other", "binary_data_size is what the shape needs", _sized(b"1")),
    _spoiled("BIN-018 size-negative", "a negative binary_data_size is refused", _sized(b"-8")),
    _spoiled("BIN-019 size-huge", "a binary_data_size beyond the body is refused", _sized(b"9223372036854775807")),
    _spoiled("BIN-020 size-text", "a binary_data_size that is no number is refused", _sized(b'"8"')),
    _spoiled("BIN-021 shape-overflow", "a shape whose product overflows is no shape of no elements", _overflowing),
    _spoiled("BIN-022 element-long", "a BYTES element that ends beyond its data is refused", _long_element),
)

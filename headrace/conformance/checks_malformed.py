"""Malformed requests in JSON: each is the caller's mistake, and refused as one before anything is allocated for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from headrace.conformance.answers import refused
from headrace.conformance.judging import Check, Finding, Level, NotJudged, checks_of
from headrace.conformance.server import Server

_check = checks_of("malformed requests")
Content = dict[str, Any]
#: Far more elements than any machine has room for, and as many as a 64-bit product of lengths cannot count.
_HUGE = [2**31, 2**10]
_OVERFLOWING = [2**32, 2**32]
#: What an error has that was written for a programmer.
_TELLING = (
    *(b"Traceback", b'File \\"', b"site-packages", b"/usr/", b" at 0x"),
    *(b"Error(", b"Error:", b"Exception:", b" object has no ", b"list index"),
)


def _body(label: str, level: Level, rule: str, body: bytes) -> Check:
    @_check(label, level, rule)
    def spoiled(server: Server) -> None:
        refused(server.post(body))

    return spoiled


def _request(label: str, level: Level, rule: str, change: Callable[[Content], Any]) -> Check:
    @_check(label, level, rule)
    def spoiled(server: Server) -> None:
        content = server.content()
        changed = change(content)
        refused(server.post(content if changed is None else changed))

    return spoiled


def _first(**members: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content["inputs"][0] |= members

    return change


def _without(member: str) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        del content["inputs"][0][member]

    return change


def _more(**members: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content.update(members)

    return change


def _one_less(content: Content) -> None:
    content["inputs"][0]["data"] = content["inputs"][0]["data"][:-1]


def _one_more(content: Content) -> None:
    content["inputs"][0]["data"] *= 2


def _ragged(content: Content) -> None:
    data = content["inputs"][0]["data"]
    content["inputs"][0]["data"] = [data, [*data, *data]]


def _twice(content: Content) -> None:
    content["inputs"].append(content["inputs"][0])


def _unknown(content: Content) -> None:
    content["inputs"].append({"name": "headrace-no-such-input", "shape": [1], "datatype": "INT32", "data": [1]})


def _other_type(content: Content) -> None:
    tensor = content["inputs"][0]
    wrong: Any = 7 if tensor["datatype"] == "BYTES" else "seven"
    tensor["data"] = [wrong] * len(tensor["data"])


def _nulls(content: Content) -> None:
    tensor = content["inputs"][0]
    tensor["data"] = [{}] * len(tensor["data"])


def _not_a_number(content: Content) -> bytes:
    numbers = [tensor for tensor in content["inputs"] if tensor["datatype"] in ("FP32", "FP64") and tensor["data"]]
    if not numbers:
        raise NotJudged("no input is FP32 or FP64")
    numbers[0]["data"][0] = float("nan")
    return json.dumps(content).encode()


def _out_of_range(content: Content) -> bytes:
    for tensor in content["inputs"]:
        if tensor["datatype"] not in ("BOOL", "BYTES") and tensor["data"]:
            tensor["data"][0] = 123456789
            return json.dumps(content).encode().replace(b"123456789", b"1" + b"0" * 400, 1)
    raise NotJudged("no input is a number")


def _deep_data(content: Content) -> bytes:
    content["inputs"][0]["data"] = 123456789
    return json.dumps(content).encode().replace(b"123456789", b"[" * 5000 + b"]" * 5000, 1)


def _bad_text(content: Content) -> bytes:
    return json.dumps(content | {"id": "headrace-id"}).encode().replace(b"headrace-id", b"\xff\xfe\xed\xa0\x80", 1)


@_check("REST-093 shape-of-another", Level.SHOULD, "a shape the model cannot take is the caller's mistake")
def _wrong_rank(server: Server) -> None:
    content = server.content()
    tensor = content["inputs"][0]
    tensor["shape"] = [*tensor["shape"], 3]
    tensor["data"] = [value for value in tensor["data"] for _ in range(3)]
    said = server.post(content)
    if said.status == 200:
        raise NotJudged("the model takes it")
    refused(said)


@_check("REST-094 error-plain", Level.SHOULD, "an error tells no path, stack or type of the program's")
def _error_plain(server: Server) -> None:
    content = server.content()
    _one_less(content)
    for said in (server.post(content), server.post(b"{"), server.post({"inputs": []})):
        telling = next((sign for sign in _TELLING if sign in said.body), b"")
        if telling:
            raise Finding(f"the error tells {telling.decode()!r}")


MUST, SHOULD = Level.MUST, Level.SHOULD
CHECKS: tuple[Check, ...] = (
    _body("REST-060 json-broken", MUST, "a body that is not JSON is refused", b'{"inputs": [{"name"'),
    _body("REST-061 body-empty", MUST, "an empty body is refused", b""),
    _body("REST-062 json-list", MUST, "a body that is no JSON object is refused", b"[1, 2, 3]"),
    _body("REST-063 inputs-missing", MUST, "a request without inputs is refused", b'{"id": "1"}'),
    _body("REST-064 inputs-empty", MUST, "a request with an empty list of inputs is refused", b'{"inputs": []}'),
    _body("REST-065 inputs-number", MUST, "inputs that are no list are refused", b'{"inputs": 7}'),
    _body("REST-066 inputs-of-numbers", MUST, "an input that is no object is refused", b'{"inputs": [7, null]}'),
    _body("REST-067 json-deep", MUST, "JSON nested without end is refused", b"[" * 100_000),
    _request("REST-068 name-missing", MUST, "an input without a name is refused", _without("name")),
    _request("REST-069 shape-missing", MUST, "an input without a shape is refused", _without("shape")),
    _request("REST-070 datatype-missing", MUST, "an input without a datatype is refused", _without("datatype")),
    _request("REST-071 data-missing", MUST, "an input without data is refused", _without("data")),
    _request("REST-072 name-number", MUST, "a name is a string", _first(name=7)),
    _request("REST-073 datatype-unknown", MUST, "a datatype is one of the protocol's", _first(datatype="FP31")),
    _request("REST-074 shape-text", MUST, "a shape is a list of integers", _first(shape=["2", 1.5])),
    _request("REST-075 shape-negative", MUST, "the lengths of a request's shape are 0 or more", _first(shape=[-1, -1])),
    _request("REST-076 shape-huge", MUST, "a shape larger than its data is refused at once", _first(shape=_HUGE)),
    _request(
        "REST-077 shape-overflow",
        MUST,
        "a shape whose product overflows is no shape of no elements",
        _first(shape=_OVERFLOWING, data=[]),
    ),
    _request("REST-078 data-short", MUST, "data are as many as the shape says: one less is refused", _one_less),
    _request("REST-079 data-long", MUST, "data are as many as the shape says: more are refused", _one_more),
    _request("REST-080 data-ragged", MUST, "nested lists are nested as the shape says", _ragged),
    _request("REST-081 data-type", MUST, "elements are of the datatype", _other_type),
    _request("REST-082 data-objects", MUST, "elements are values, not objects", _nulls),
    _request("REST-083 data-deep", MUST, "data nested without end are refused", _deep_data),
    _request("REST-084 data-range", SHOULD, "a number outside the range of its datatype is refused", _out_of_range),
    _request("REST-085 data-nan", SHOULD, "NaN is no JSON, and refused", _not_a_number),
    _request("REST-086 text-broken", SHOULD, "JSON is UTF-8: other bytes are refused", _bad_text),
    _request("REST-087 input-twice", SHOULD, "every input is there once", _twice),
    _request("REST-088 input-unknown", SHOULD, "an input that the model does not have is refused", _unknown),
    _request("REST-089 id-number", SHOULD, "an id is a string", _more(id=[7])),
    _request("REST-090 parameters-list", SHOULD, "parameters are an object", _more(parameters=[7])),
    _request("REST-091 outputs-number", MUST, "the outputs asked for are a list of objects", _more(outputs=7)),
    _request("REST-092 output-nameless", MUST, "an output has a name", _more(outputs=[{"parameters": {}}])),
    _wrong_rank,
    _error_plain,
)

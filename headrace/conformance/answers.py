"""Answers taken apart without the project's own codecs, and held against each other.

Every reader raises Finding where an answer is not what the protocol says it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.conformance.http_wire import Said
from headrace.conformance.judging import Finding, Level
from headrace.conformance.sampling import DATATYPES, Tensor

HEADER_LENGTH = "inference-header-content-length"
_JSON_KINDS: dict[str, tuple[type, ...]] = {"?": (bool,), "u": (int,), "i": (int,), "f": (int, float), "O": (str,)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An inference answer: its JSON part, its outputs by name, and the names of those that came as binary data."""

    head: dict[str, Any]
    outputs: Mapping[str, Tensor]
    binary: frozenset[str] = frozenset()


def json_of(said: Said) -> Any:
    """Return what an answer says in JSON."""
    return parsed(said.body)


def parsed(body: bytes) -> Any:
    """Return the content of JSON, in which NaN and infinity do not exist."""
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as wrong:
        raise Finding(f"the answer is not JSON ({wrong})") from None


def object_of(said: Said) -> dict[str, Any]:
    """Return the JSON object that a 200 carries."""
    if said.status != 200:
        raise Finding(f"the status is {said.status}, needs 200")
    found = json_of(said)
    if not isinstance(found, dict):
        raise Finding(f"the answer is a JSON {type(found).__name__}, needs an object")
    return found


def refused(said: Said) -> None:
    """Demand a refusal of the caller's mistake: 4xx, and a body that says why as `{"error": "..."}`.

    A 5xx with such a body is a lesser fault: the protocol says "typically 400".
    """
    if said.status < 400:
        raise Finding(f"the status is {said.status}, needs a refusal: 4xx with an error object")
    error_of(said)
    if said.status >= 500:
        raise Finding(f"the status is {said.status}, needs 4xx: the mistake is the caller's", Level.SHOULD)


def error_of(said: Said) -> str:
    """Return the message of a refusal."""
    try:
        found = json_of(said)
    except Finding:
        found = None
    message = found.get("error") if isinstance(found, dict) else None
    if not isinstance(message, str) or not message:
        raise Finding(f'the body of the {said.status} is no error object, needs {{"error": "<reason>"}}')
    return message


def answer_of(said: Said) -> Answer:
    """Return the inference answer that a 200 carries, in JSON or with binary data."""
    length = said.headers.get(HEADER_LENGTH)
    if length is None or said.status != 200:
        head, rest = object_of(said), b""
    else:
        if not length.isdigit() or not 0 < int(length) <= len(said.body):
            raise Finding(f"the answer's Inference-Header-Content-Length is {length!r} of {len(said.body)} bytes")
        head = object_of(Said(200, said.headers, said.body[: int(length)]))
        rest = said.body[int(length) :]
    outputs = head.get("outputs")
    if not isinstance(outputs, list):
        raise Finding("the answer has no list of outputs")
    tensors: dict[str, Tensor] = {}
    binary: set[str] = set()
    for item in outputs:
        tensor, used = _output(item, rest)
        if used is not None:
            binary.add(tensor.name)
            rest = rest[used:]
        tensors[tensor.name] = tensor
    if rest:
        raise Finding(f"{len(rest)} bytes lie after the last binary output, needs none")
    return Answer(head, tensors, frozenset(binary))


def tensor_of(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """Return the tensor that binary data holds."""
    size = math.prod(shape)
    if datatype == "BYTES":
        items = tuple(_elements(name, raw))
        if len(items) != size:
            raise Finding(f"output {name!r} holds {len(items)} elements, needs {size} for shape {list(shape)}")
        return Tensor(name, datatype, shape, items)
    each = np.dtype(DATATYPES[datatype]).itemsize
    if len(raw) != size * each:
        raise Finding(f"output {name!r} has {len(raw)} bytes, needs {size * each} for shape {list(shape)}")
    return Tensor(name, datatype, shape, tuple(np.frombuffer(raw, dtype=DATATYPES[datatype]).tolist()))


def differing(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> str:
    """Say how outputs differ, empty where they do not. Floats may differ by the rounding of their type."""
    if left.keys() != right.keys():
        return f"the outputs are {', '.join(right) or 'none'}, they were {', '.join(left) or 'none'}"
    for name, was in left.items():
        now = right[name]
        if (was.datatype, was.shape) != (now.datatype, now.shape):
            return f"output {name!r} is {now.datatype} {list(now.shape)}, it was {was.datatype} {list(was.shape)}"
        if not all(map(_close, was.data, now.data)):
            return f"output {name!r} has other values"
    return ""


def nulls(found: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the members that are null; the data of tensors are not looked at."""
    if found is None:
        yield path
    elif isinstance(found, dict):
        for key, value in found.items():
            if key != "data":
                yield from nulls(value, f"{path}.{key}" if path else key)
    elif isinstance(found, list):
        for at, value in enumerate(found):
            yield from nulls(value, f"{path}[{at}]")


def _refuse(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which JSON does not have")


def _output(item: Any, rest: bytes) -> tuple[Tensor, int | None]:
    known = item if isinstance(item, dict) else {}
    name, datatype, shape = (known.get(key) for key in ("name", "datatype", "shape"))
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in DATATYPES:
        raise Finding(f"an output has the name {name!r} and the datatype {datatype!r}, needs both of the protocol's")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise Finding(f"output {name!r} has the shape {shape!r}, needs a list of lengths")
    used = (known.get("parameters") or {}).get("binary_data_size")
    if used is None:
        return _json_output(name, datatype, tuple(shape), known.get("data")), None
    if type(used) is not int or not 0 <= used <= len(rest):
        raise Finding(f"output {name!r} has a binary_data_size of {used!r}, {len(rest)} bytes are left for it")
    if "data" in known:
        raise Finding(f"output {name!r} has both data and binary_data_size, needs one of them")
    return tensor_of(name, datatype, tuple(shape), rest[:used]), used


def _json_output(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    if not isinstance(data, list):
        raise Finding(f"output {name!r} has no list of data")
    flat = list(_flat(data))
    if len(flat) != math.prod(shape):
        raise Finding(f"output {name!r} has {len(flat)} elements, needs {math.prod(shape)} for shape {list(shape)}")
    allowed = _JSON_KINDS[np.dtype(DATATYPES[datatype]).kind if datatype != "BOOL" else "?"]
    wrong = {type(each).__name__ for each in flat if type(each) not in allowed}
    if wrong:
        raise Finding(f"output {name!r} of {datatype} holds {', '.join(sorted(wrong))}")
    values = tuple(each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each for each in flat)
    return Tensor(name, datatype, shape, values)


def _flat(data: list[Any]) -> Iterator[Any]:
    for each in data:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _elements(name: str, raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        if at + 4 + size > len(raw):
            raise Finding(f"output {name!r} has an element that ends after its {len(raw)} bytes")
        yield raw[at + 4 : at + 4 + size]
        at += 4 + size


def _close(left: Any, right: Any) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-4, abs_tol=1e-6) or (left != left and right != right)
    return bool(left == right)

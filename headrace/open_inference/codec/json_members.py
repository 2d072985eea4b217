"""What the members of a request's or an answer's JSON say: its id, parameters, tensors and the outputs asked for.

What is wrong with one is an InvalidRequest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from headrace.open_inference.codec import binary_data, json_data
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import RequestedOutput, Tensor, checked_datatype, checked_shape, few_enough

#: Parameters of outputs by which other servers write labels, or into shared memory.
NOT_SPOKEN = ("classification", "shared_memory_region")
MAX_NAME = 200  # names are repeated in messages, so they are kept short


def check_spoken(owner: str, parameters: Collection[str]) -> None:
    """Refuse what would change an answer's form in a way that is not spoken here, and be missed by who asked for it."""
    for word in NOT_SPOKEN:
        if word in parameters:
            raise InvalidRequest(f"{owner} is asked for with {word}, which is not spoken here: needs none")


def id_of(head: dict[str, Any]) -> str:
    """Return a request's id, empty where it has none."""
    found = head.get("id")
    if found is not None and not isinstance(found, str):
        raise InvalidRequest(f"the request has an id that is {type(found).__name__}, needs a string")
    return found or ""


def parameters_of(owner: str, holder: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, an answer, a tensor or an output, which `owner` names."""
    found = holder.get("parameters")
    if found is None:  # some servers and clients write null for what they do not have
        return {}
    if not isinstance(found, dict) or any(isinstance(value, list | dict) for value in found.values()):
        raise InvalidRequest(f"{owner} has parameters it cannot have, needs an object of strings, numbers and booleans")
    return found


def flag_of(owner: str, parameters: dict[str, Any], name: str) -> bool | None:
    """Return a parameter that is true or false, None where it is not there."""
    found = parameters.get(name)
    if found is not None and not isinstance(found, bool):
        raise InvalidRequest(f"{owner} has a {name} that is {type(found).__name__}, needs true or false")
    return found


def _name(holder: Any, what: str) -> str:
    name = holder.get("name") if isinstance(holder, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise InvalidRequest(f"an {what} has no name, needs an object with a 'name' of 1 to {MAX_NAME} characters")
    return name


def tensors_of(items: list[Any], raw: memoryview, what: str) -> list[Tensor]:
    """Return the tensors that items describe, those in binary from the raw bytes; `what` is 'input' or 'output'."""
    tensors: list[Tensor] = []
    names: set[str] = set()
    at = texts = 0
    for item in items:
        name = _name(item, what)
        if name in names:
            raise InvalidRequest(f"{what} {name!r} is there twice, needs every {what} once")
        names.add(name)
        binary = "parameters" in item
        array = binary_data.usual_array(item, raw, at) if binary else json_data.usual_array(item)
        if array is not None:
            tensor, used = Tensor(name, item["datatype"], array), array.nbytes if binary else 0
        else:
            tensor, used = _tensor(name, item, raw[at:])
            if tensor.datatype == "BYTES":
                few_enough(name, texts := texts + tensor.array.size)
        at += used
        tensors.append(tensor)
    if at != len(raw):
        raise InvalidRequest(f"the body has {len(raw)} bytes after its JSON, needs {at} by the sum of binary_data_size")
    return tensors


def _tensor(name: str, item: dict[str, Any], rest: memoryview) -> tuple[Tensor, int]:
    checked_datatype(name, item.get("datatype"))
    datatype = item["datatype"]
    shape, size = checked_shape(name, item.get("shape"))
    used = parameters_of(f"tensor {name!r}", item).get("binary_data_size") if "parameters" in item else None
    if used is None:
        return Tensor(name, datatype, json_data.array_of(name, datatype, shape, size, item.get("data"))), 0
    if type(used) is not int or not 0 <= used <= len(rest):
        raise InvalidRequest(
            f"tensor {name!r} has a binary_data_size unlike the {len(rest)} bytes that are left for it"
        )
    if item.get("data") is not None:
        raise InvalidRequest(f"tensor {name!r} has both data and binary_data_size, needs one of them")
    return Tensor(name, datatype, binary_data.array_of(name, datatype, shape, size, rest[:used])), used


def requested_of(outputs: Any) -> tuple[RequestedOutput, ...]:
    """Return the outputs that a request asks for; none where it does not say."""
    if outputs is None:
        return ()
    if not isinstance(outputs, list):
        raise InvalidRequest(f"the request has outputs that are {type(outputs).__name__}, needs a list")
    names = [_name(item, "output") for item in outputs]
    if len(set(names)) != len(names):
        raise InvalidRequest("the request asks for an output twice, needs every output once")
    return tuple(_requested_one(name, item) for name, item in zip(names, outputs, strict=True))


def _requested_one(name: str, item: dict[str, Any]) -> RequestedOutput:
    if "parameters" not in item:
        return RequestedOutput(name)
    owner = f"output {name!r}"
    parameters = parameters_of(owner, item)
    check_spoken(owner, parameters)
    return RequestedOutput(name, flag_of(owner, parameters, "binary_data"))

"""JSON schemas of what the protocol's bodies hold, in general and of one model, and examples that it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.open_inference.tensors import BINARY_ONLY, DATATYPES

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_JSON = {"BOOL": "boolean", "BYTES": "string", "FP16": "number", "BF16": "number", "FP32": "number", "FP64": "number"}
_EXAMPLES: dict[str, Any] = {"BOOL": True, "BYTES": "text"} | {f"FP{bits}": 12.5 for bits in (32, 64)}


def _object(required: Mapping[str, Schema], **more: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


PARAMETERS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
DURATION = _object({"count": _COUNT, "ns": _COUNT})
TENSOR_METADATA = _object(
    {"name": _TEXT, "datatype": {"enum": list(DATATYPES)}, "shape": _list({"type": "integer", "minimum": -1})},
    parameters=PARAMETERS | {"description": "What else is known, such as whether the input is required."},
)
_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
STATISTICS = _object(
    {
        "name": _TEXT,
        "version": _TEXT,
        "last_inference": _COUNT,
        "inference_count": _COUNT,
        "execution_count": _COUNT,
        "inference_stats": _object(dict.fromkeys(_STAGES, DURATION)),
    }
)
#: Schemas that do not depend on a model, as components of the document.
COMPONENTS: dict[str, Schema] = {
    "Error": _object({"error": _TEXT}) | {"additionalProperties": False},
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"type": "boolean"}}, live={"type": "boolean"}, name=_TEXT, error=_TEXT),
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Models": _object({"models": _list(_TEXT)}),
    "Metadata": _object(
        {"name": _TEXT, "platform": _TEXT, "inputs": _list(TENSOR_METADATA), "outputs": _list(TENSOR_METADATA)},
        versions=_list(_TEXT),
    ),
    "Configuration": _object({"name": _TEXT}),
    "Statistics": _object({"model_stats": _list(STATISTICS)}),
    "Index": _list(_object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})),
}


def request_schema(metadata: Mapping[str, Any]) -> Schema:
    """Return the schema of a JSON request to a model of this metadata."""
    inputs = [_tensor(given) for given in metadata["inputs"]]
    names = [given["name"] for given in metadata["outputs"]]
    wanted = _object({"name": {"enum": names} if names else _TEXT}, parameters=PARAMETERS)
    needed = [{"contains": _object({"name": {"const": name}})} for name in _required(metadata)]
    tensors = _list({"anyOf": inputs} if inputs else {"type": "object"}) | {"minItems": 1}
    return _object(
        {"inputs": tensors | ({"allOf": needed} if needed else {})},
        id=_TEXT,
        parameters=PARAMETERS,
        outputs=_list(wanted),
    )


def response_schema(metadata: Mapping[str, Any]) -> Schema:
    """Return the schema of a model's JSON answer."""
    outputs = [_tensor(given) for given in metadata["outputs"]]
    return _object(
        {"model_name": {"const": metadata["name"]}, "outputs": _list({"anyOf": outputs} if outputs else {})},
        model_version=_TEXT,
        id=_TEXT,
        parameters=PARAMETERS,
    )


def request_example(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a request for one row in JSON, or None where an input has no JSON form."""
    inputs = metadata["inputs"]
    if any(given["datatype"] in BINARY_ONLY for given in inputs):
        return None
    tensors = []
    for given in inputs:
        shape = [1 if length < 0 else length for length in given["shape"]]
        data = [_value(given)] * math.prod(shape)
        tensors.append({"name": given["name"], "shape": shape, "datatype": given["datatype"], "data": data})
    return {"id": "1", "inputs": tensors}


def row_schema(metadata: Mapping[str, Any]) -> Schema:
    """Return the schema of one v1 instance: an object of a value per input, or a list for a model of one matrix."""
    inputs = metadata["inputs"]
    if (width := _width(metadata)) is not None:
        return _list(_value_schema(inputs[0])) | ({"minItems": width, "maxItems": width} if width > 0 else {})
    properties = {given["name"]: _value_schema(given) for given in inputs}
    needed = _required(metadata)
    for name in properties.keys() - set(needed) if needed else ():
        properties[name]["type"] = [properties[name]["type"], "null"]
    return {"type": "object", "required": needed, "properties": properties, "additionalProperties": False}


def row_example(metadata: Mapping[str, Any]) -> Any:
    """Return one v1 instance."""
    inputs = metadata["inputs"]
    if (width := _width(metadata)) is not None:
        return [_value(inputs[0])] * max(1, width)
    return {given["name"]: _value(given) for given in inputs}


def _width(metadata: Mapping[str, Any]) -> int | None:
    inputs: Sequence[Mapping[str, Any]] = metadata["inputs"]
    return inputs[0]["shape"][1] if len(inputs) == 1 and len(inputs[0]["shape"]) == 2 else None


def _required(metadata: Mapping[str, Any]) -> list[str]:
    return [given["name"] for given in metadata["inputs"] if given.get("parameters", {}).get("required")]


def _value(given: Mapping[str, Any]) -> Any:
    return given.get("parameters", {}).get("example", _EXAMPLES.get(given["datatype"], 1))


def _value_schema(given: Mapping[str, Any]) -> Schema:
    more = given.get("parameters", {})
    bounds = {name: more[name] for name in ("minimum", "maximum") if name in more}
    said = {"description": more["meaning"]} if "meaning" in more else {}
    return {"type": _JSON.get(given["datatype"], "integer"), **bounds, **said}


def _tensor(given: Mapping[str, Any]) -> Schema:
    kind = _JSON.get(given["datatype"], "integer")
    known = {
        "name": {"const": given["name"]},
        "datatype": {"const": given["datatype"]},
        "shape": _list(_COUNT) | {"examples": [[1 if length < 0 else length for length in given["shape"]]]},
    }
    kinds = [kind, "array", *(["null"] if kind == "number" else [])]
    elements = _list({"type": kinds}) | {"description": "Elements, flat or nested as the shape; not where binary."}
    said = {"description": meaning} if (meaning := given.get("parameters", {}).get("meaning")) else {}
    return {**said, **_object(known, data=elements, parameters=PARAMETERS)}

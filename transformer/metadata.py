"""What the transformer tells of itself: the request's columns as inputs, and every output that can be asked for.

What the protocol has no member for (whether an input is required, its bounds and meaning) stands in the tensor's
`parameters`, which strict readers leave alone.
"""

from __future__ import annotations

import math
from typing import Any

from headrace.application import Application
from headrace.features.columns import Column
from transformer.prepared import EXTRAS
from transformer.request_path import STAGES
from transformer.rows import ACCEPTED

PLATFORM = "headrace_transformer"
FINGERPRINT = "headrace_fingerprint"
_EXAMPLES: dict[str, Any] = {"int64": 1, "bool": True, "timestamp": 1_700_000_000_000, "string": "text"}
_UNITS = {"timestamp": "ms since 1970, UTC"}
_MEANINGS = {
    "features": "What the model was given, in the order of its columns.",
    "feature_age_ms": "How long ago each group last changed, for each row.",
    "row_status": "What was wrong with each row; ok where nothing was.",
    "stage_ms": f"How long {', '.join(STAGES)} took.",
}


def metadata_of(name: str, app: Application) -> dict[str, Any]:
    """Return the model metadata of an application that is served under this name."""
    view = app.view
    shapes = {"features": [-1, len(view.names)], "feature_age_ms": [-1, len(view.groups)], "stage_ms": [len(STAGES)]}
    outputs: list[dict[str, Any]] = [{"name": o.name, "datatype": o.datatype, "shape": [-1]} for o in app.outputs]
    for extra, datatype in EXTRAS.items():
        about = {"default": False, "meaning": _MEANINGS[extra]}
        outputs.append({"name": extra, "datatype": datatype, "shape": shapes.get(extra, [-1]), "parameters": about})
    return {
        "name": name,
        "versions": [],
        "platform": PLATFORM,
        "inputs": [_input(column) for column in view.request],
        "outputs": outputs,
    }


def config_of(name: str, app: Application, max_rows: int) -> dict[str, Any]:
    """Return the same in the shape of Triton's model configuration, with the view's fingerprint.

    Rows are not in `dims`, as Triton's are not where a model takes a batch.
    """
    tensors = metadata_of(name, app)
    config = {"name": name, "platform": PLATFORM, "backend": "headrace", "max_batch_size": max_rows}
    for side in ("input", "output"):
        config[side] = [_configured(tensor) for tensor in tensors[f"{side}s"]]
    return config | {"parameters": {FINGERPRINT: {"string_value": app.view.fingerprint}}}


def _input(column: Column) -> dict[str, Any]:
    about: dict[str, Any] = {"required": column.required}
    unit = column.unit or _UNITS.get(column.dtype, "")
    bounds = {"minimum": column.low, "maximum": column.high} if column.dtype != "bool" else {}
    about |= {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    about |= {"unit": unit} if unit else {}
    about |= {"meaning": column.meaning} if column.meaning else {}
    example = _EXAMPLES.get(column.dtype, min(max(12.5, column.low), column.high))
    return {
        "name": column.name,
        "datatype": ACCEPTED[column.dtype][0],
        "shape": [-1],
        "parameters": {**about, "example": example},
    }


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    per_row = tensor["shape"][0] < 0
    dims = (tensor["shape"][1:] or [1]) if per_row else tensor["shape"]
    told: dict[str, Any] = {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": dims}
    if per_row and len(tensor["shape"]) == 1:
        told["reshape"] = {"shape": []}
    if tensor.get("parameters", {}).get("required") is False:
        told["optional"] = True
    return told

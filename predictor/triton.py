"""Triton's words for a model: config.pbtxt, and the same as the JSON its server answers.

`max_batch_size` is 0: the first dimension is the model's own, so that outputs stay [rows]
instead of [rows, 1]. Requests for ranking come as batches already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Columns = Sequence[Mapping[str, Any]]
COMPARED = ("name", "dtype", "missing", "source")

_TEMPLATE = """\
name: {name}
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 0
input [
  {{
    name: "features"
    data_type: TYPE_FP32
    dims: [ -1, {width} ]
  }}
]
output [
{outputs}
]
parameters {{
  key: "headrace_fingerprint"
  value {{ string_value: {fingerprint} }}
}}
parameters {{
  key: "headrace_columns"
  value {{ string_value: {columns} }}
}}
"""


def model_config(name: str, columns: Columns, outputs: Sequence[str], fingerprint: str) -> str:
    """Return config.pbtxt of an ONNX model `features` FP32 [-1, columns] -> outputs FP32 [-1]."""
    rows = ",\n".join(
        f"  {{\n    name: {_text(output)}\n    data_type: TYPE_FP32\n    dims: [ -1 ]\n  }}" for output in outputs
    )
    return _TEMPLATE.format(
        name=_text(name),
        width=len(columns),
        outputs=rows,
        fingerprint=_text(fingerprint),
        columns=_text(told(columns)),
    )


def model_config_json(name: str, columns: Columns, outputs: Sequence[str], fingerprint: str) -> dict[str, Any]:
    """Return the same configuration as Triton's HTTP server would give it."""
    return {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "features", "data_type": "TYPE_FP32", "dims": [-1, len(columns)]}],
        "output": [{"name": output, "data_type": "TYPE_FP32", "dims": [-1]} for output in outputs],
        "parameters": {
            "headrace_fingerprint": {"string_value": fingerprint},
            "headrace_columns": {"string_value": told(columns)},
        },
    }


def told(columns: Columns) -> str:
    """Return what a transformer compares with its view, as JSON: each column's name, dtype, missing value and source.

    >>> told([{"name": "amount", "unit": "euro"}])
    '[{"name": "amount"}]'
    """
    return json.dumps([{key: column[key] for key in COMPARED if key in column} for column in columns])


def _text(value: str) -> str:
    """Quote a string as the text format of protocol buffers does."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

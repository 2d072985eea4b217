"""What the predictor answered, as the application is told of it."""

from __future__ import annotations

import numpy as np

from headrace.open_inference.errors import PredictorFailed
from headrace.open_inference.tensors import InferResponse
from transformer.counting import marked


def prediction(answer: InferResponse, name: str, rows: int) -> np.ndarray:
    """Return an output of the model, [rows]; PredictorFailed where there is none, or no finite number for each row."""
    try:
        values = answer.output(name)
    except KeyError as absent:
        raise PredictorFailed(f"the predictor gave no {name!r}, needs it") from absent
    if values.size != rows:
        raise PredictorFailed(f"the predictor gave {values.size} values of {name!r}, needs {rows}")
    if values.dtype.kind not in "fiub":
        raise PredictorFailed(f"the predictor gave {name!r} that is not numbers, needs them")
    if values.dtype.kind == "f" and marked(np.isfinite(values)) != rows:
        raise PredictorFailed(f"the predictor gave {name!r} that is not finite, needs numbers")
    return values.reshape(rows)

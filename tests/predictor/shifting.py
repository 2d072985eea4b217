"""Further versions of a small model that tell themselves apart by their answers, without training any."""

import numpy as np
import onnx
from onnx import numpy_helper

from predictor.repository import read_model, write_model


def shifted(model: bytes, by: float) -> bytes:
    """Return the model with its last bias moved: every answer is another."""
    graph = onnx.load_from_string(model)
    bias = next(one for one in graph.graph.initializer if one.name.endswith("bias"))
    bias.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(bias) + by).astype(np.float32), bias.name))
    return graph.SerializeToString()


def write_version(repository, by: float, *, promote=True, key=None, change=lambda model: model):
    """Write a version of `small` whose answers are moved; return the model's directory."""
    manifest, model = read_model(repository / "small")
    return write_model(
        repository,
        "small",
        change(shifted(model, by)),
        fingerprint=manifest.fingerprint,
        columns=manifest.columns,
        outputs=[output["name"] for output in manifest.outputs],
        promote=promote,
        key=key,
    )

"""From a trained torch module to ONNX: one file, any number of rows, and it knows its view.

Standardisation and calibration are inside the graph, so that whoever runs the file gives
it features as they are assembled. The view's fingerprint lies in the file's metadata.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from headrace.features import FeatureView
from headrace.runtime import INPUT, Runtime
from predictor.reference import histograms
from predictor.repository import ModelRefused, write_model
from predictor.triton import Serving

OPSET = 20
#: How far two runtimes' answers may lie apart, of answers beyond 1 as a share of them: float32 arithmetic in another
#: order. Probabilities differ by about 1e-7.
PARITY = 1e-5


def export(module: nn.Module, view: FeatureView, outputs: Sequence[str], path: Path | str) -> Path:
    """Write `module` as one ONNX file and return its path.

    The module takes float32 [rows, columns of the view] and gives one tensor per output.
    """
    path = Path(path)
    rows = torch.zeros((2, len(view.names)), dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module.eval(),
            (rows,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            verbose=False,
        )
    if program is None:  # the exporter's signature allows it; with dynamo=True it does not happen
        raise ModelRefused("torch exported nothing, needs an ONNX program")
    model = program.model_proto
    properties = {
        "headrace_fingerprint": view.fingerprint,
        "headrace_view": f"{view.name}:{view.version}",
        "headrace_columns": json.dumps(list(view.names)),
    }
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def parity(module: nn.Module, runtime: Runtime, sample: np.ndarray) -> float:
    """Return how far torch's and ONNX Runtime's answers lie `apart` at most on float32 [rows, columns]."""
    with torch.inference_mode():
        given = module.eval()(torch.from_numpy(np.ascontiguousarray(sample, dtype=np.float32)))
    ours = given if isinstance(given, tuple) else (given,)
    theirs = runtime.run(sample)
    return max(apart(a.numpy(), theirs[n]) for a, n in zip(ours, runtime.outputs, strict=True))


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two arrays of one shape, that of numbers beyond 1 as a share of them.

    NaN where one of them holds NaN, which no bound allows.

    >>> apart(np.array([0.5, 1000.0]), np.array([0.5, 1001.0]))
    0.001
    """
    size = np.maximum(np.abs(ours.astype(np.float64)), 1.0)
    return float((np.abs(ours.astype(np.float64) - theirs) / size).max())


def publish(
    repository: Path | str,
    module: nn.Module,
    view: FeatureView,
    sample: np.ndarray,
    *,
    outputs: Sequence[str],
    name: str = "",
    version: int | None = None,
    promote: bool = False,
    labels: Mapping[str, Sequence[str]] | None = None,
    serving: Serving | None = None,
    metrics: Mapping[str, Any] | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> tuple[Path, float]:
    """Export, prove parity on `sample`, and write the model to the repository, under the view's name or another.

    `sample` is the training matrix or a part of it; the reference histograms are made of
    it. The rest is `write_model`'s. Returns the model's directory and the parity. Raises ModelRefused where
    the exported file answers otherwise than the module.
    """
    repository = Path(repository)
    repository.mkdir(parents=True, exist_ok=True)
    exported = export(module, view, outputs, repository / f".{view.name}.onnx.tmp")
    try:
        content = exported.read_bytes()
    finally:
        exported.unlink()
    found = parity(module, Runtime.of(content), sample[:4096])
    if not found <= PARITY:
        raise ModelRefused(f"the exported model differs from the trained one by {found:.2g}, needs at most {PARITY:g}")
    directory = write_model(
        repository,
        name or view.name,
        content,
        fingerprint=view.fingerprint,
        columns=view.describe(),
        outputs=outputs,
        version=version,
        promote=promote,
        labels=labels,
        serving=serving,
        metrics={**(metrics or {}), "parity": found},
        reference=histograms(sample, view.names),
        trained_on=trained_on or {},
    )
    return directory, found

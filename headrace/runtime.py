"""An exported model run in this process, by ONNX Runtime.

For the embedded predictor, and for a transformer that needs no hop. One thread per run:
requests run side by side instead, and a small network gains nothing from more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

INPUT = "features"
_SAID = 8  # so many inputs of another model are named


class RuntimeRefused(Exception):
    """The file is not a model this runtime can run; the text says why."""


class RunFailed(Exception):
    """The model could be loaded and not be run; the text says why, without the features."""


class Runtime:
    """A model with one float32 input `features` [rows, width] and named outputs [rows]."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        inputs = session.get_inputs()
        columns = inputs[0].shape[-1:] if inputs else []
        if [(i.name, i.type, len(i.shape)) for i in inputs] != [(INPUT, "tensor(float)", 2)] or type(
            columns[0]
        ) is not int:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs[:_SAID]) or "nothing"
            more = f" and {len(inputs) - _SAID} more" if len(inputs) > _SAID else ""
            needs = f"needs one input {INPUT!r} tensor(float) [rows, columns]"
            raise RuntimeRefused(f"the model reads {found}{more}, {needs}")
        self.width: int = columns[0]
        self.outputs: tuple[str, ...] = tuple(output.name for output in session.get_outputs())
        self.properties: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    @classmethod
    def open(cls, path: Path | str, threads: int = 1) -> Runtime:
        """Load an ONNX file; raises RuntimeRefused where it cannot be run."""
        return cls.of(Path(path).read_bytes(), threads)

    @classmethod
    def of(cls, model: bytes, threads: int = 1) -> Runtime:
        """Load a model from memory: the very bytes that were checked, and no file beside them."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that turn in circles between runs use up a container's quota, and its other threads' time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # below it, values of a request are written to stderr
        try:
            return cls(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
        except _REFUSALS as wrong:
            raise RuntimeRefused("the file is not an ONNX model that ONNX Runtime can run") from wrong

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the view the model was trained on; empty where the model does not say."""
        return self.properties.get("headrace_fingerprint", "")

    def run(self, features: np.ndarray, outputs: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """Return the outputs of float32 [rows, width] by name; ValueError for another width, RunFailed.

        `outputs` names those wanted; all of them unless it is given.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            raise ValueError(f"features have shape {list(features.shape)}, needs [rows, {self.width}]")
        wanted = outputs or self.outputs
        try:
            given: list[Any] = self._session.run(wanted, {INPUT: np.ascontiguousarray(features, dtype=np.float32)})
        except _FAILURES as failed:
            raise RunFailed(f"ONNX Runtime failed with {type(failed).__name__} on {len(features)} rows") from failed
        return dict(zip(wanted, given, strict=True))


_state = onnxruntime.capi.onnxruntime_pybind11_state
_REFUSALS = (_state.InvalidProtobuf, _state.InvalidGraph, _state.Fail, _state.InvalidArgument, _state.NotImplemented)
_FAILURES = (_state.Fail, _state.InvalidArgument, _state.RuntimeException, _state.EPFail)

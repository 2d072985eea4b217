"""Triton's backend `onnxruntime` for a machine without its own: the same repository, run on the processor.

Triton loads this file as a backend written in Python. A version's `model.onnx` is run as it
is; the requests that Triton puts into one batch are joined, run once and told apart again.
What concerns GPUs (instance kinds, TensorRT) is accepted and left aside. Texts and models
that keep state are refused when they are loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of one version of a model, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model. Raises TritonModelException, which keeps the server from getting ready."""
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(f"numpy is {np.__version__}, needs 1.x: Triton would read wrong values")
        config = json.loads(args["model_config"])
        if "sequence_batching" in config or any(i["data_type"] == "TYPE_STRING" for i in config["input"]):
            raise pb_utils.TritonModelException("the model reads texts or keeps state, needs a backend that can")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(_parameter(config, "intra_op_thread_count", "1"))
        options.inter_op_num_threads = int(_parameter(config, "inter_op_thread_count", "1"))
        options.log_severity_level = 3
        name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = [given["name"] for given in config["input"]]
        self._outputs = [output["name"] for output in config["output"]]
        self._batches = config["max_batch_size"] > 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of one batch, in order."""
        if not self._batches:
            return [answer for request in requests for answer in self._run([request])]
        return self._run(requests)

    def _run(self, requests: list[Any]) -> list[Any]:
        given = [[_input(request, name) for name in self._inputs] for request in requests]
        joined = given[0] if len(given) == 1 else [np.concatenate(parts) for parts in zip(*given, strict=True)]
        wanted = [name for name in self._outputs if any(name in r.requested_output_names() for r in requests)]
        try:
            found = self._session.run(wanted, dict(zip(self._inputs, joined, strict=True)))
        except _FAULTS as failed:
            pb_utils.Logger.log_error(f"the model cannot be run: {failed}")
            error = pb_utils.TritonError("the model cannot be run on these rows: the server's log says why")
            return [pb_utils.InferenceResponse(error=error) for _ in requests]
        ends = np.cumsum([len(inputs[0]) for inputs in given])[:-1]
        parts = [[values] if len(given) == 1 else np.split(values, ends) for values in found]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, np.ascontiguousarray(part[at]))
                    for name, part in zip(wanted, parts, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for at, request in enumerate(requests)
        ]


_state = onnxruntime.capi.onnxruntime_pybind11_state
_FAULTS = (ValueError, RuntimeError, _state.Fail, _state.InvalidArgument, _state.RuntimeException)


def _input(request: Any, name: str) -> np.ndarray:
    values: np.ndarray = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return values


def _parameter(config: dict[str, Any], name: str, otherwise: str) -> str:
    said: str = config.get("parameters", {}).get(name, {}).get("string_value", otherwise)
    return said

"""Triton's backend `pytorch` for a machine without its own: TorchScript, run on the processor.

A version's `model.pt` is run as it is; the requests that Triton puts into one batch are
joined, run once and told apart again. Inputs and outputs are matched with the configuration
in its order. TorchScript is code: it is for repositories of one's own. Headrace's are ONNX.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of one version of a model, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model. Raises TritonModelException, which keeps the server from getting ready."""
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(f"numpy is {np.__version__}, needs 1.x: Triton would read wrong values")
        config = json.loads(args["model_config"])
        torch.set_num_threads(1)
        name = config.get("default_model_filename") or "model.pt"
        path = Path(args["model_repository"]) / args["model_version"] / name
        self._module = torch.jit.load(path, map_location="cpu").eval()
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
        joined = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*given, strict=True)]
        try:
            with torch.inference_mode():
                answered = self._module(*joined)
        except RuntimeError as failed:
            pb_utils.Logger.log_error(f"the model cannot be run: {failed}")
            error = pb_utils.TritonError("the model cannot be run on these rows: the server's log says why")
            return [pb_utils.InferenceResponse(error=error) for _ in requests]
        found = answered if isinstance(answered, tuple) else (answered,)
        parts = [values.split([len(inputs[0]) for inputs in given]) for values in found]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, part[at].contiguous().numpy())
                    for name, part in zip(self._outputs, parts, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for at, request in enumerate(requests)
        ]


def _input(request: Any, name: str) -> np.ndarray:
    values: np.ndarray = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return values

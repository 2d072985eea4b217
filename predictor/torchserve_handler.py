"""What runs inside TorchServe: a TorchScript model behind the v2 protocol, JSON or binary, REST or gRPC.

This file is copied into the archive and imports nothing of ours. TorchServe hands it up to a
batch of requests at once; their rows are run together, and a request that is refused does not
fail its neighbours. What TorchServe's own v2 envelope gets wrong is done here: outputs are FP32
as the model's, every request of a batch is answered, and a tensor with fewer elements than its
shape says is refused, for TorchServe passes gRPC's raw_input_contents on as no elements at all.
TorchServe wants one class in this file, and answers that have an id, model_name and model_version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

INPUT = "features"
LENGTH = "inference-header-content-length"
Answer = dict[str, Any] | bytes
_SAID, _LONGEST = 4, 60  # of a request's own names, so many are said back, and so much of each


class OpenInferenceHandler:
    """One worker's model. Refusals are 400 with `{"error": ...}`, as of any v2 server.

    A request without a body, such as `GET /predictions/NAME`, is answered with no outputs: TorchServe has no
    other address that tells whether a worker has the model. Over gRPC it passes on outputs alone, and OK whatever
    the status: a refusal is an output `error` there.
    """

    def initialize(self, context: Any) -> None:
        """Load the archive's model and try it; TorchServe keeps restarting a worker whose model raises here."""
        folder = Path(context.system_properties["model_dir"])
        model = context.manifest["model"]
        self._said = json.loads((folder / "headrace.json").read_text())
        self._name, self._version = model["modelName"], str(model["modelVersion"])
        gpu = context.system_properties.get("gpu_id")
        self._device = torch.device(f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu")
        torch.set_num_threads(1)  # workers run side by side
        self._module = torch.jit.load(str(folder / model["serializedFile"]), map_location=self._device)
        self._run(np.zeros((1, len(self._said["columns"])), dtype=np.float32))

    def handle(self, requests: list[dict[str, Any]], context: Any) -> list[Answer]:
        """Answer every request of a batch, in order."""
        read = [self._read(request, context, at) for at, request in enumerate(requests)]
        matrices = [features for _, features in read if isinstance(features, np.ndarray)]
        outputs = self._run(np.concatenate(matrices)) if matrices else {}
        answers: list[Answer] = []
        begin = 0
        for at, (head, features) in enumerate(read):
            if features is None:
                answers.append({**self._head(head), "outputs": []})
                continue
            if isinstance(features, str):
                context.set_response_status(400, "Bad Request", at)
                answers.append(self._refusal(head, features))
                continue
            rows = {name: array[begin : begin + len(features)] for name, array in outputs.items()}
            begin += len(features)
            answers.append(self._answer(head, rows, context, at))
        return answers

    def _read(self, request: dict[str, Any], context: Any, at: int) -> tuple[dict[str, Any], np.ndarray | str | None]:
        head: dict[str, Any] = {}
        if not request.get("body", request.get("data")):
            return head, None
        try:
            head, raw = _split(request, context, at)
            _wanted(head, self._said["outputs"])
            return head, self._features(head, raw)
        except ValueError as refused:
            return head, str(refused)

    def _run(self, features: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            given = self._module(torch.from_numpy(features).to(self._device))
        tensors = given if isinstance(given, tuple) else (given,)
        return {name: one.cpu().numpy() for name, one in zip(self._said["outputs"], tensors, strict=True)}

    def _features(self, head: dict[str, Any], raw: bytes) -> np.ndarray:
        found = head.get("inputs")
        inputs: list[Any] = found if isinstance(found, list) else []
        names = [one.get("name") if isinstance(one, dict) else None for one in inputs]
        if names != [INPUT]:
            said = ", ".join(repr(name)[:_LONGEST] for name in names[:_SAID]) or "none"
            more = f" and {len(names) - _SAID} more" if len(names) > _SAID else ""
            raise ValueError(f"inputs are {said}{more}, needs {INPUT!r} alone")
        tensor = inputs[0]
        shape, width = tensor.get("shape"), len(self._said["columns"])
        if tensor.get("datatype") != "FP32":
            raise ValueError(f"input {INPUT!r} is {tensor.get('datatype')}, needs FP32")
        if not _is_matrix(shape) or shape[1] != width:
            raise ValueError(f"{INPUT!r} has shape {shape}, needs [rows, {width}]")
        features = _elements(tensor, raw)
        if features.size != shape[0] * width:
            raise ValueError(
                f"{INPUT!r} has {features.size} elements, needs {shape[0] * width} for shape {shape}: over gRPC they "
                "must lie in fp32_contents, this server drops raw_input_contents"
            )
        bad = ~np.isfinite(features.reshape(shape)).all(axis=1)
        if bad.any():
            raise ValueError(f"{int(bad.sum())} of {shape[0]} rows hold NaN or infinity, needs numbers")
        return features.reshape(shape)

    def _refusal(self, head: dict[str, Any], said: str) -> dict[str, Any]:
        output = {"name": "error", "datatype": "BYTES", "shape": [1], "data": [said]}
        return {**self._head(head), "outputs": [output], "error": said}

    def _head(self, head: dict[str, Any]) -> dict[str, Any]:
        found = head.get("id")
        return {
            "id": found if isinstance(found, str) else "",
            "model_name": self._name,
            "model_version": self._version,
            "parameters": {"headrace_fingerprint": self._said["fingerprint"]},
        }

    def _answer(self, head: dict[str, Any], rows: dict[str, np.ndarray], context: Any, at: int) -> Answer:
        tensors, parts = [], []
        for name, binary in _wanted(head, self._said["outputs"]):
            array = np.ascontiguousarray(rows[name], dtype="<f4")
            tensor: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
            if binary:
                parts.append(array.tobytes())
                tensor["parameters"] = {"binary_data_size": array.nbytes}
            else:
                tensor["data"] = array.tolist()
            tensors.append(tensor)
        answer = {**self._head(head), "outputs": tensors}
        if not parts:
            return answer
        written = json.dumps(answer).encode()
        context.set_response_content_type(at, "application/octet-stream")
        context.set_response_header(at, "Inference-Header-Content-Length", str(len(written)))
        return b"".join([written, *parts])


def _split(request: dict[str, Any], context: Any, at: int) -> tuple[dict[str, Any], bytes]:
    body = request.get("body", request.get("data"))
    if isinstance(body, dict):  # TorchServe has read the JSON
        return body, b""
    if not isinstance(body, (bytes, bytearray)):
        raise ValueError(f"the body is {type(body).__name__}, needs a JSON object")
    named = {str(name).lower(): value for name, value in context.get_all_request_header(at).items()}
    said = str(named.get(LENGTH, len(body)))
    length = int(said) if said.isdigit() else -1
    if not 0 < length <= len(body):
        raise ValueError(f"the body has {len(body)} bytes, needs the {said[:20]} that its JSON part is said to have")
    try:
        head = json.loads(body[:length])
    except ValueError:
        raise ValueError("the body is not JSON, needs a JSON object") from None
    if not isinstance(head, dict):
        raise ValueError(f"the body is a JSON {type(head).__name__}, needs an object")
    return head, bytes(body[length:])


def _wanted(head: dict[str, Any], known: list[str]) -> list[tuple[str, bool]]:
    default = bool(_parameter(head, "binary_data_output"))
    asked = head.get("outputs") or [{"name": name} for name in known]
    wanted = []
    for output in asked if isinstance(asked, list) else [asked]:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in known:
            raise ValueError(f"output {str(name)[:80]!r} is unknown, needs one of {', '.join(known)}")
        binary = _parameter(output, "binary_data")
        wanted.append((name, default if binary is None else bool(binary)))
    return wanted


def _parameter(holder: dict[str, Any], name: str) -> Any:
    found = holder.get("parameters") or {}
    if not isinstance(found, dict):
        raise ValueError(f"parameters are {type(found).__name__}, needs an object")
    return found.get(name)


def _elements(tensor: dict[str, Any], raw: bytes) -> np.ndarray:
    size = _parameter(tensor, "binary_data_size")
    if size is not None:
        if size != len(raw) or size % 4:
            raise ValueError(f"the body has {len(raw)} bytes after its JSON, needs {size} by binary_data_size")
        return np.frombuffer(raw, dtype="<f4").astype(np.float32)
    try:
        return np.asarray(tensor.get("data", []), dtype=np.float32).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"the data of {INPUT!r} are not numbers, needs one per element") from None


def _is_matrix(shape: Any) -> bool:
    return isinstance(shape, list) and len(shape) == 2 and all(type(one) is int and one >= 0 for one in shape)

"""The embedded predictor: a model of the repository behind REST and gRPC, run by ONNX Runtime.

A model is taken only as it was written: its checksums, its width, its outputs and the
fingerprint in its file must agree with its manifest. A batch of up to INLINE_ROWS rows is
run on the event loop: handing it to a thread and back was measured at 0.2 ms and more, a
run of one row at 0.02 ms, of a hundred at 0.1 ms, of five hundred at 0.5 ms.
Larger batches go to a thread, so that nobody waits for them; ONNX Runtime lets go of the
interpreter while it computes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, PredictorFailed, Tensor
from headrace.runtime import INPUT, Runtime, RuntimeRefused
from predictor.repository import Manifest, ModelRefused, read_model
from predictor.triton import model_metadata

INLINE_ROWS = 512


class OnnxServable:
    """A model as the servers of `headrace.open_inference` ask it; see `Servable`."""

    def __init__(self, manifest: Manifest, runtime: Runtime, pool: ThreadPoolExecutor) -> None:
        self.name = manifest.name
        self.versions: tuple[str, ...] = (str(manifest.version),)
        self.fingerprint = manifest.fingerprint
        self._runtime, self._pool = runtime, pool
        self._config = manifest.config
        self._metadata = model_metadata(manifest.config) | {"versions": list(self.versions)}

    def readiness(self) -> str | None:
        """A model that could be loaded is ready."""
        return None

    def metadata(self) -> dict[str, Any]:
        """Return inputs, outputs and platform."""
        return self._metadata

    def config(self) -> dict[str, Any]:
        """Return the configuration as Triton gives it, the view's fingerprint and columns among its parameters."""
        return self._config

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Score the rows of `features`; refuses NaN and infinity, another datatype and another width."""
        features = _features(request.inputs, self._runtime.width)
        wanted = tuple(name for name in self._runtime.outputs if not request.outputs or request.wants(name))
        given = await self._run(features, wanted or self._runtime.outputs)
        # As Triton answers for a model that batches: [rows, 1].
        outputs = [Tensor(name, "FP32", array.reshape(-1, 1)) for name, array in given.items()]
        return InferResponse(self.name, self.versions[0], request.id, outputs)

    async def predict_v1(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Score `{"instances": [[...], ...]}`: one list of features per row."""
        try:
            features = np.asarray(body.get("instances"), dtype=np.float32)
        except (TypeError, ValueError):
            raise InvalidRequest("instances are not lists of numbers of equal length, needs one per row") from None
        features = _checked(features, self._runtime.width)
        given = await self._run(features, self._runtime.outputs[:1])
        return {"predictions": next(iter(given.values())).tolist()}

    async def _run(self, features: np.ndarray, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
        if len(features) <= INLINE_ROWS:
            given = self._runtime.run(features, wanted)
        else:
            loop = asyncio.get_running_loop()
            given = await loop.run_in_executor(self._pool, self._runtime.run, features, wanted)
        for name, array in given.items():
            if not np.isfinite(array).all():
                raise PredictorFailed(f"model {self.name!r} answered NaN or infinity in {name!r}: the score is unknown")
        return given


def load(repository: Path | str, name: str, *, threads: int = 1) -> OnnxServable:
    """Load a model of the repository and try it; raises ModelRefused."""
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise ModelRefused(f"model {name!r} is no name of a model, needs one without slashes")
    manifest, model = read_model(Path(repository) / name)
    try:
        runtime = Runtime.of(model, threads)
    except RuntimeRefused as wrong:
        raise ModelRefused(f"model {name!r} cannot be run: {wrong}") from wrong
    _agree(manifest, runtime, name)
    runtime.run(np.zeros((1, runtime.width), dtype=np.float32))  # the first run of a session is its slowest
    return OnnxServable(manifest, runtime, ThreadPoolExecutor(max_workers=2, thread_name_prefix="run"))


def _agree(manifest: Manifest, runtime: Runtime, name: str) -> None:
    outputs = tuple(output["name"] for output in manifest.outputs)
    said = {
        "name": (manifest.name, name),
        "fingerprint": (manifest.fingerprint, runtime.fingerprint),
        "number of columns": (len(manifest.columns), runtime.width),
        "outputs": (outputs, runtime.outputs),
    }
    for what, (written, found) in said.items():
        if written != found:
            raise ModelRefused(f"model {name!r} has {what} {found!r} in its file and {written!r} in its manifest")


def _features(inputs: Mapping[str, Tensor], width: int) -> np.ndarray:
    unknown = [given for given in inputs if given != INPUT]
    if unknown or INPUT not in inputs:
        raise InvalidRequest(f"inputs are {', '.join(map(repr, inputs)) or 'none'}, needs {INPUT!r} alone")
    tensor = inputs[INPUT]
    if tensor.datatype != "FP32":
        raise InvalidRequest(f"input {INPUT!r} is {tensor.datatype}, needs FP32")
    return _checked(tensor.array, width)


def _checked(features: np.ndarray, width: int) -> np.ndarray:
    if features.ndim != 2 or features.shape[1] != width:
        raise InvalidRequest(f"{INPUT!r} has shape {list(features.shape)}, needs [rows, {width}]")
    bad = ~np.isfinite(features)
    if bad.any():
        rows = int(bad.any(axis=1).sum())
        raise InvalidRequest(
            f"{rows} of {len(features)} rows hold NaN or infinity, needs numbers: "
            "fill in the declared missing values before asking"
        )
    return features

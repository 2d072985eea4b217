"""Whether Triton answers as the model does: a few rows, asked of both.

Readiness does not tell. Triton's Python processes with a NumPy they do not know say they
are ready, and read every element of an input as its first.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from headrace.open_inference.codec.bodies import decode_response, encode_request
from headrace.open_inference.errors import InvalidRequest
from headrace.open_inference.tensors import InferRequest, InferResponse, Tensor
from headrace.runtime import INPUT, Runtime
from predictor.local_triton.command import HOST, TritonFailed
from predictor.local_triton.launching import START_S

ROWS = 5
_LENGTH = "Inference-Header-Content-Length"
TOLERANCE = 1e-5  # the same arithmetic, perhaps by another build of ONNX Runtime


def check(directory: Path, http_port: int) -> list[str]:
    """Ask every served version of the model in `directory` and ONNX Runtime here; return the versions.

    Raises TritonFailed where they differ in anything by more than TOLERANCE, or nothing is served.
    """
    name = directory.name
    versions: list[str] = json.loads(_asked(http_port, "GET", f"/v2/models/{name}")[0]).get("versions") or []
    if not versions:
        raise TritonFailed(f"Triton serves no version of model {name!r}, needs one")
    most = json.loads(_asked(http_port, "GET", f"/v2/models/{name}/config")[0]).get("max_batch_size") or ROWS
    for version in versions:
        runtime = Runtime.open(directory / version / "model.onnx")
        features = np.random.default_rng(0).uniform(0.0, 100.0, (min(ROWS, most), runtime.width)).astype(np.float32)
        answer = _inferred(http_port, name, version, features)
        for output, wanted in runtime.run(features).items():
            _compare(f"output {output!r} of model {name!r} version {version}", answer, output, wanted)
    return versions


def _compare(what: str, answer: InferResponse, output: str, wanted: np.ndarray) -> None:
    found = answer.output(output)
    if found.size != wanted.size:
        raise TritonFailed(f"Triton gave {found.size} values of {what}, needs {wanted.size}")
    apart = np.abs(found.reshape(wanted.shape).astype(np.float64) - wanted) / np.maximum(np.abs(wanted), 1.0)
    if not (apart <= TOLERANCE).all() and not np.array_equal(found.reshape(wanted.shape), wanted, equal_nan=True):
        raise TritonFailed(
            f"Triton gave {what} that is {apart.max():.1e} away from ONNX Runtime's, needs {TOLERANCE:.0e} at "
            "most: it would answer wrongly"
        )


def _inferred(port: int, name: str, version: str, features: np.ndarray) -> InferResponse:
    body, length = encode_request(InferRequest(name, version, "", {INPUT: Tensor(INPUT, "FP32", features)}))
    path, headers = f"/v2/models/{name}/versions/{version}/infer", {_LENGTH: str(length)}
    content, said = _asked(port, "POST", path, body, headers)
    try:
        return decode_response(content, int(said) if said else None)
    except InvalidRequest as wrong:
        raise TritonFailed(f"Triton gave no answer for model {name!r}: {wrong.message}") from wrong


def _asked(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[bytes, str]:
    asking = http.client.HTTPConnection(HOST, port, timeout=START_S)
    try:
        asking.request(method, path, body, headers)
        answer = asking.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as failed:
        raise TritonFailed(f"Triton does not answer: {failed}") from failed
    finally:
        asking.close()
    if answer.status != 200:
        raise TritonFailed(f"Triton answered {answer.status}: {content[:300].decode('utf-8', 'replace')}")
    return content, answer.headers.get(_LENGTH, "")

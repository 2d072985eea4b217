"""The KServe model: an application's request path, under any server that speaks to `kserve.Model`.

The lean server calls `infer`; the stock `kserve.ModelServer` calls `preprocess`, `predict` and
`postprocess` one after another. Both run the same steps of the same request path.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import kserve
import kserve.model_server
import numpy as np
from kserve.errors import ModelNotReady

from headrace.open_inference.codec import json_data
from headrace.open_inference.errors import InvalidRequest, OpenInferenceError
from headrace.open_inference.forwarding import BESIDE_V1
from headrace.open_inference.servable import Answered, Withdrawable
from headrace.open_inference.shield import shielded
from headrace.open_inference.tensors import BINARY_ONLY, InferRequest, InferResponse, RequestedOutput, Tensor
from transformer.metadata import config_of, metadata_of
from transformer.prepared import FEATURES, Prepared
from transformer.readiness import reason_not_ready
from transformer.request_path import RequestPath, deadline_in
from transformer.rows import tensors_of
from transformer.stock import answer_refusals, refusing

DEADLINE_HEADER = "headrace-deadline-ms"
_prepared: ContextVar[Prepared] = ContextVar("prepared")


class FeatureTransformer(kserve.Model):
    """Serves a request path; ready when its store, its predictor and the model's fingerprint say so."""

    def __init__(
        self,
        path: RequestPath,
        *,
        default_deadline_s: float = 0.05,
        unproved: bool = False,
        forward: tuple[str, ...] = (),
    ) -> None:
        super().__init__(path.name)
        self.path, self._forward = path, forward
        self.versions: tuple[str, ...] = ()
        self._default_deadline_s = default_deadline_s
        self._unproved = unproved
        self._metadata = metadata_of(path.name, path.app)
        self._config = config_of(path.name, path.app, path.max_rows)
        self._reason: str | None = "the first check of store and predictor is under way"
        self.ready = True  # in KServe's sense: loaded; `healthy` tells whether it can answer

    def readiness(self) -> str | None:
        """Return what the last check found: None, or why requests cannot be answered."""
        return self._reason

    async def check(self) -> str | None:
        """Look at store and predictor again and remember the outcome; a fault on the way is a reason too."""
        path = self.path
        try:
            outputs, asked = path.app.model_outputs, (path.app.view, path.store, path.predictor)
            self._reason = await shielded(reason_not_ready(*asked, unproved=self._unproved, outputs=outputs))
        except OpenInferenceError as fault:
            self._reason = f"store and predictor could not be checked: {fault}"
        return self._reason

    def metadata(self) -> dict[str, Any]:
        """Return the request's columns as inputs, and the outputs that can be asked for."""
        return self._metadata

    def config(self) -> dict[str, Any]:
        """Return the same in the shape of Triton's model configuration, with the view's fingerprint."""
        return self._config

    def get_input_types(self) -> list[dict[str, Any]]:
        """Tell the stock server the inputs; it asks no more of metadata than that."""
        return self._metadata["inputs"]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Tell the stock server the outputs."""
        return self._metadata["outputs"]

    def start(self) -> None:
        """Set up the stock server, which calls this before it serves: our refusals keep their statuses there."""
        answer_refusals(kserve.model_server.app)
        super().start()

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Answer a v2 request; called by the lean server."""
        return await self.path.infer(request, deadline)

    def ask(self, request: InferRequest, deadline: float, answered: Answered) -> Withdrawable:
        """Answer a v2 request without a task of its own; called by the lean server."""
        return self.path.ask(request, deadline, answered)

    async def predict_v1(self, body: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Answer a v1 request; called by the lean server."""
        request = self._v1_request(body)
        request.headers = BESIDE_V1.get()
        return _v1_answer(await self.path.infer(request, deadline))

    async def healthy(self) -> bool:
        """Tell the stock server whether requests can be answered; raise with the reason where not."""
        if why := await self.check():
            raise ModelNotReady(self.name, why)
        return True

    async def preprocess(self, payload: Any, headers: Mapping[str, str] | None = None) -> kserve.InferRequest:
        """Turn a request of the stock server into the model's input."""
        with refusing(lambda: self._allowed_s(headers)):
            request = self._v1_request(payload) if isinstance(payload, dict) else _request_of(self.name, payload)
            given = headers or {}
            request.headers = {name: given[name] for name in self._forward if name in given}
            deadline = deadline_in(self._allowed_s(given))
            prepared = await self.path.prepare(request, deadline)
        _prepared.set(prepared)
        features = kserve.InferInput(FEATURES, list(prepared.matrix.shape), "FP32")
        features.set_data_from_numpy(prepared.matrix, binary_data=True)
        return kserve.InferRequest(self.name, [features], request.id)

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, np.ndarray]:
        """Call the predictor over the kept-alive binary connection, within the request's deadline."""
        with refusing(lambda: self._allowed_s(headers)):
            prepared = _prepared.get()
            return await self.path.predict(prepared, prepared.deadline)

    async def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Turn predictions into the stock server's answer, v1 or v2 as it was asked."""
        prepared = _prepared.get()
        with refusing():
            answer = self.path.respond(prepared, result)
        if prepared.request.parameters.get("v1"):
            return _v1_answer(answer)
        return _response_of(answer)

    def _allowed_s(self, headers: Mapping[str, str] | None) -> float:
        return _deadline_s(headers or {}) or self._default_deadline_s

    def _v1_request(self, body: dict[str, Any]) -> InferRequest:
        inputs = tensors_of(self.path.app.view, body.get("instances"), self.path.max_rows)
        return InferRequest(self.name, inputs=inputs, parameters={"v1": True})


def _v1_answer(answer: InferResponse) -> dict[str, Any]:
    names = [tensor.name for tensor in answer.outputs]
    columns = [_values(tensor) for tensor in answer.outputs]
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]}


def _values(tensor: Tensor) -> list[Any]:
    datatype = "FP32" if tensor.datatype in BINARY_ONLY else tensor.datatype  # v1 has no datatypes, and no bytes
    found = json_data.lists_of(tensor.name, datatype, tensor.array)
    return found if isinstance(found, list) else found.tolist()


def _request_of(name: str, payload: kserve.InferRequest) -> InferRequest:
    inputs = {}
    for given in payload.inputs:
        array = given.as_numpy()
        inputs[given.name] = (
            Tensor.of(given.name, array) if given.datatype == "BYTES" else Tensor(given.name, given.datatype, array)
        )
    asked = tuple(RequestedOutput(output.name) for output in payload.request_outputs or ())
    return InferRequest(name, id=payload.id or "", inputs=inputs, outputs=asked)


def _response_of(answer: InferResponse) -> kserve.InferResponse:
    outputs = []
    for tensor in answer.outputs:
        output = kserve.InferOutput(tensor.name, list(tensor.array.shape), tensor.datatype)
        output.set_data_from_numpy(tensor.array, binary_data=False)
        outputs.append(output)
    return kserve.InferResponse(answer.id, answer.model, outputs, parameters=answer.parameters or None)


def _deadline_s(headers: Mapping[str, str]) -> float | None:
    said = headers.get(DEADLINE_HEADER)
    if said is None:
        return None
    try:
        milliseconds = float(said)
    except ValueError:
        milliseconds = 0.0
    if not 0 < milliseconds < float("inf"):
        raise InvalidRequest(f"header {DEADLINE_HEADER} is not a positive number, needs milliseconds")
    return milliseconds / 1000

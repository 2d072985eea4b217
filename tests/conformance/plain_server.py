"""A server of our own with models of every datatype, each answering its inputs: `python -m` this module."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from headrace.open_inference import DATATYPES, InferRequest, InferResponse, InvalidRequest, Tensor, make_app
from headrace.open_inference.serving.server import run

IN_JSON = {name: name.lower() for name in DATATYPES if name not in ("FP16", "BF16")}


class Same:
    """Answers each of its inputs under another name, and the number of elements; shapes are [-1, 2]."""

    versions: tuple[str, ...] = ("1",)

    def __init__(self, name: str, datatypes: tuple[str, ...]) -> None:
        self.name = name
        self.inputs = {f"in_{datatype.lower()}": datatype for datatype in datatypes}

    def readiness(self) -> str | None:
        return None

    def metadata(self) -> dict[str, Any]:
        inputs = [{"name": name, "datatype": kind, "shape": [-1, 2]} for name, kind in self.inputs.items()]
        outputs = [{**each, "name": each["name"].replace("in_", "out_")} for each in inputs]
        outputs.append({"name": "elements", "datatype": "INT64", "shape": [1]})
        return {"name": self.name, "versions": ["1"], "platform": "same", "inputs": inputs, "outputs": outputs}

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "platform": "same", "max_batch_size": 0, "input": [], "output": []}

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        for name, tensor in request.inputs.items():
            if self.inputs.get(name) != tensor.datatype or len(tensor.shape) != 2:
                raise InvalidRequest(f"input {name!r} is not one of the model's, needs those of its metadata")
        outputs = [Tensor(n.replace("in_", "out_"), t.datatype, t.array) for n, t in request.inputs.items()]
        outputs.append(Tensor.of("elements", np.array([sum(t.array.size for t in request.inputs.values())])))
        return InferResponse(self.name, "1", request.id, outputs)


def servables() -> dict[str, Any]:
    """Return the models: all datatypes at once, those that JSON carries, and one alone."""
    every = {"all": tuple(DATATYPES), "plain": tuple(IN_JSON), "one": ("FP32",)}
    return {name: Same(name, datatypes) for name, datatypes in every.items()}


if __name__ == "__main__":
    models = servables()
    sys.exit(run(make_app(models, max_body_bytes=1 << 20, version="0.1"), models, http_port=0, grpc_port=0))

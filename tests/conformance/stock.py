"""The unmodified `kserve.ModelServer` on loopback: `python -m tests.conformance.stock --role ROLE FLAGS`.

As `predictor` it doubles FP32 numbers; as `transformer` it passes them on to one, whose flags are kserve's own.
"""

from __future__ import annotations

import sys
from typing import Any

import kserve
import numpy as np
from kserve.utils.utils import get_predict_response

from tests.transformer.stock import HOST, bind_to_loopback


class Doubled(kserve.Model):
    """A predictor written as kserve's examples are."""

    def load(self) -> bool:
        self.ready = True
        return True

    async def predict(self, payload: kserve.InferRequest, headers: Any = None, response_headers: Any = None) -> Any:
        return get_predict_response(payload, payload.inputs[0].as_numpy() * np.float32(2), self.name)


class PassedOn(kserve.Model):
    """A transformer that changes nothing; what asks its predictor is kserve's."""

    def load(self) -> bool:
        self.ready = True
        return True


def told(flag: str) -> str:
    """Return the value of a flag of this process."""
    return sys.argv[sys.argv.index(flag) + 1]


if __name__ == "__main__":
    bind_to_loopback()
    model = {"predictor": Doubled, "transformer": PassedOn}[told("--role")]("numbers")
    model.load()
    print(f"listening http={HOST}:{told('--http_port')} grpc={HOST}:{told('--grpc_port')}", flush=True)
    kserve.ModelServer().start([model])

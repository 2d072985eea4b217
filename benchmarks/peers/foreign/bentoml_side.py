"""A model behind BentoML: `bentoml serve bentoml_side:Scores`, one worker; HEADRACE_PEER_MODEL is the model's file."""
# mypy: disable-error-code="import-not-found"

import os

import bentoml
import numpy as np
from session import Model


@bentoml.service(workers=1, traffic={"timeout": 30}, logging={"access": {"enabled": False}})
class Scores:
    """JSON lists in, a JSON list out."""

    def __init__(self) -> None:
        """Load the model in the worker."""
        self.model = Model(os.environ["HEADRACE_PEER_MODEL"])

    @bentoml.api
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Answer one request."""
        return self.model.score(features.astype(np.float32))

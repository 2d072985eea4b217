"""A model behind MLServer: `mlserver start FOLDER`; its model-settings.json names this runtime and the model."""
# mypy: disable-error-code="import-not-found"

import mlserver
import numpy as np
from mlserver.codecs import NumpyCodec
from session import Model


class Runtime(mlserver.MLModel):
    """The Open Inference Protocol in JSON, in and out."""

    async def load(self) -> bool:
        """Load the model."""
        self.model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        """Answer one request."""
        matrix = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        output = NumpyCodec.encode_output("scores", self.model.score(matrix))
        return mlserver.types.InferenceResponse(model_name=self.name, outputs=[output])

"""A model behind LitServe: `python litserve_side.py MODEL PORT`, one worker, logs quiet."""
# mypy: disable-error-code="import-not-found"

import sys

import litserve
import numpy as np
from session import Model


class Api(litserve.LitAPI):
    """JSON lists in, a JSON list out."""

    def setup(self, device):
        """Load the model in the worker."""
        self.model = Model(sys.argv[1])

    def decode_request(self, request):
        """Return the matrix of a request."""
        return np.array(request["features"], dtype=np.float32)

    def predict(self, x):
        """Return the model's values."""
        return self.model.score(x)

    def encode_response(self, output):
        """Return the answer."""
        return {"scores": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1, track_requests=False)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")

"""A model behind Ray Serve: `python ray_side.py MODEL PORT`, one replica, logs quiet."""
# mypy: disable-error-code="import-not-found, attr-defined"

import logging
import sys
from pathlib import Path
from threading import Event

import numpy as np
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.5})
class Scores:
    """JSON lists in, a JSON list out."""

    def __init__(self, path):
        """Load the model in the replica."""
        from session import Model

        self.model = Model(path)

    async def __call__(self, request):
        """Answer one request."""
        asked = await request.json()
        return {"scores": self.model.score(np.array(asked["features"], dtype=np.float32)).tolist()}


if __name__ == "__main__":
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, runtime_env=here)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[2])},
        logging_config={"log_level": "ERROR", "enable_access_log": False},
    )
    serve.run(Scores.bind(sys.argv[1]), route_prefix="/predict")
    Event().wait()

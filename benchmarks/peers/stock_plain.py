"""A transformer as people write it for the stock server: entity by entity, the predictor by kserve's own client."""

from __future__ import annotations

from collections.abc import Mapping

import kserve
import numpy as np

from applications.fraud.app import APP
from benchmarks.peers.plain_features import PlainStore, columns_of, vector
from benchmarks.peers.stock_server import arguments, serve


class PlainTransformer(kserve.Model):
    """Reads and computes every entity's features by itself; `predict` is the SDK's own."""

    def __init__(self, name: str, store: PlainStore) -> None:
        super().__init__(name)
        self.store = store
        self.names = APP.view.names
        self.missing = APP.view.missing.tolist()
        self.ready = True

    async def preprocess(
        self, payload: kserve.InferRequest, headers: Mapping[str, str] | None = None
    ) -> kserve.InferRequest:
        """Turn the request's columns into the model's input."""
        columns = {tensor.name: tensor.as_numpy().reshape(-1).tolist() for tensor in payload.inputs}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        vectors = [vector(self.names, self.missing, self.store, row) for row in rows]
        features = kserve.InferInput("features", [len(vectors), len(self.names)], "FP32")
        features.set_data_from_numpy(np.array(vectors, dtype=np.float32), binary_data=True)
        return kserve.InferRequest(self.name, [features])


def main() -> None:
    """Serve the transformer beside the plain store that it is told."""
    told = arguments()
    store = PlainStore(told.values, columns_of(APP.view))
    serve(PlainTransformer(told.model_name, store), told.http_port, told.grpc_port)


if __name__ == "__main__":
    main()

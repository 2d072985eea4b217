"""A transformer as users of Hopsworks write it for the stock server: features by the unmodified SDK, logs off.

The SDK reads RonDB's REST server, many rows by one call, and runs the view's two functions row by row;
the predictor is called by kserve's own gRPC client. `HOPSWORKS_*` variables say where the cluster is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
from collections.abc import Mapping
from typing import Any

logging.root.addHandler(logging.NullHandler())  # or importing the SDK makes the whole process log

from headrace.hopsworks.descriptors import set_apart  # noqa: E402

set_apart()  # the SDK and kserve bring messages of the same names: without it they do not load into one process

import hopsworks  # noqa: E402
import kserve  # noqa: E402
import numpy as np  # noqa: E402

from applications.fraud.app import APP  # noqa: E402
from benchmarks.peers.stock_server import arguments, serve  # noqa: E402

#: What the view's functions call the columns of a request.
PARAMETERS = {"amount": "amount", "latitude": "latitude", "longitude": "longitude", "datetime": "asked_ms"}


class HopsworksTransformer(kserve.Model):
    """Reads every request's features by one call of the SDK; `predict` is kserve's own."""

    def __init__(self, name: str, view: Any) -> None:
        super().__init__(name)
        self.view = view
        served = [feature.name for feature in view.features if not feature.label]
        prefixed = {f"{group.name}_{n}": n for group in APP.groups for n in group.column_names}
        prefixed |= {f"{APP.groups[0].name}_{n}": n for n in APP.view.names}
        plain = [prefixed[n] for n in served]
        #: Where each column of the model stands in a vector of the SDK's, or in the request.
        self.of_vector = [plain.index(n) if n in plain else -1 for n in APP.view.names]
        self.of_request = [at for at, place in enumerate(self.of_vector) if place < 0]
        self.keys = [(f"{group.name}_{group.key}", group.key) for group in APP.groups]
        self.missing = APP.view.missing
        self.ready = True

    async def preprocess(
        self, payload: kserve.InferRequest, headers: Mapping[str, str] | None = None
    ) -> kserve.InferRequest:
        """Turn the request's columns into the model's input."""
        columns = {tensor.name: tensor.as_numpy().reshape(-1).tolist() for tensor in payload.inputs}
        vectors = self.vectors(columns)
        matrix = np.array(vectors, dtype=np.float32)[:, self.of_vector]
        for at in self.of_request:
            matrix[:, at] = columns[APP.view.names[at]]
        matrix = np.where(np.isnan(matrix), self.missing, matrix).astype(np.float32)
        features = kserve.InferInput("features", list(matrix.shape), "FP32")
        features.set_data_from_numpy(matrix, binary_data=True)
        return kserve.InferRequest(self.name, [features])

    def vectors(self, columns: Mapping[str, list[Any]]) -> list[list[Any]]:
        """Return the SDK's vectors of a request's rows; one row by the call for one, which is the cheaper."""
        keys = _rows({name: columns[key] for name, key in self.keys})
        given = _rows({name: columns[column] for column, name in PARAMETERS.items()})
        if len(keys) == 1:
            found = self.view.get_feature_vector(
                serving_keys=keys[0], request_parameters=given[0], return_type="list", allow_missing=True
            )
            return [found]
        return self.view.get_feature_vectors(
            serving_keys=keys, request_parameters=given, return_type="list", allow_missing=True
        )


def _rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def opened(name: str, rest: str, certificates: str) -> Any:
    """Log in by the SDK and return the view, ready to be read from the REST server at host:port."""
    host, _, port = rest.rpartition(":")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        project = hopsworks.login(
            host=os.environ["HOPSWORKS_HOST"],
            port=os.environ["HOPSWORKS_PORT"],
            project=os.environ["HOPSWORKS_PROJECT"],
            api_key_value=os.environ["HOPSWORKS_API_KEY"],
            hostname_verification=True,
            trust_store_path=os.environ["HOPSWORKS_TRUST_STORE_PATH"],
            cert_folder=certificates,
            engine="python",
        )
        view = project.get_feature_store().get_feature_view(name, 1)
        told = {"host": host, "port": int(port), "use_ssl": False}
        view.init_serving(1, init_sql_client=False, init_rest_client=True, config_rest_client=told)
    return view


def main() -> None:
    """Serve the transformer that reads a view of the cluster."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--view")
    parser.add_argument("--rest")
    parser.add_argument("--certificates")
    where, told = parser.parse_known_args()[0], arguments()
    serve(
        HopsworksTransformer(told.model_name, opened(where.view, where.rest, where.certificates)),
        told.http_port,
        told.grpc_port,
    )


if __name__ == "__main__":
    main()

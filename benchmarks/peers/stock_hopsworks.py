"""A transformer as users of Hopsworks write it for the stock server: features by the unmodified SDK, logs off.

The SDK reads RonDB's REST server, many rows by one call, and runs the view's two functions row by row; what is
left to compute is computed for all rows at once by NumPy; the predictor is called by kserve's own gRPC client.
`HOPSWORKS_*` variables say where the cluster is.
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

_DAY = 86_400_000
#: What the view's functions call the columns of a request.
PARAMETERS = {"amount": "amount", "latitude": "latitude", "longitude": "longitude", "datetime": "asked_ms"}


class HopsworksTransformer(kserve.Model):
    """Reads every request's features by one call of the SDK; `predict` is kserve's own."""

    def __init__(self, name: str, view: Any) -> None:
        super().__init__(name)
        self.view = view
        served = [feature.name for feature in view.features if not feature.label]
        plain = [_plain(name) for name in served]
        #: Where the SDK's vectors have each column of the model that they have.
        self.of_vector = [(at, plain.index(name)) for at, name in enumerate(APP.view.names) if name in plain]
        self.keys = [(f"{group.name}_{group.key}", group.key) for group in APP.groups]
        self.missing = APP.view.missing
        self.ready = True

    async def preprocess(
        self, payload: kserve.InferRequest, headers: Mapping[str, str] | None = None
    ) -> kserve.InferRequest:
        """Turn the request's columns into the model's input."""
        columns = {tensor.name: tensor.as_numpy().reshape(-1) for tensor in payload.inputs}
        matrix = self.matrix(columns, self.vectors({name: values.tolist() for name, values in columns.items()}))
        features = kserve.InferInput("features", list(matrix.shape), "FP32")
        features.set_data_from_numpy(matrix, binary_data=True)
        return kserve.InferRequest(self.name, [features])

    def matrix(self, columns: Mapping[str, np.ndarray], vectors: list[list[Any]]) -> np.ndarray:
        """Return the model's input: vectors in its order, and what is computed for all rows at once."""
        found = np.array(vectors, dtype=np.float64)  # None becomes NaN
        matrix = np.empty((len(found), len(APP.view.names)))
        to, of = zip(*self.of_vector, strict=True)
        matrix[:, to] = found[:, of]
        named = {name: matrix[:, at] for at, name in enumerate(APP.view.names)}
        for name in ("amount", "card_present"):
            named[name][:] = columns[name]
        hours = np.maximum(named["seconds_since_last"], 1.0) / 3600
        named["speed_from_last_kmh"][:] = named["distance_from_last_km"] / hours
        mean, spread = named["amount_mean_7d"], named["amount_std_7d"]
        with np.errstate(all="ignore"):
            score = (columns["amount"] - mean) / spread
        named["amount_zscore_7d"][:] = np.where(spread > 1e-9 * np.abs(mean), score, np.nan)
        for name, values in _of_the_moment(columns["datetime"]).items():
            named[name][:] = values
        return np.where(np.isnan(matrix), self.missing, matrix).astype(np.float32)

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


def _plain(name: str) -> str:
    group = next(group.name for group in APP.groups if name.startswith(f"{group.name}_"))
    return name.removeprefix(f"{group}_")


def _of_the_moment(ms: np.ndarray) -> dict[str, np.ndarray]:
    of_day, weekday = ms % _DAY, (ms // _DAY + 3) % 7  # the epoch began on a Thursday
    day, week = 2 * np.pi * of_day / _DAY, 2 * np.pi * weekday / 7
    turns = {"hour_sin": np.sin(day), "hour_cos": np.cos(day), "weekday_sin": np.sin(week), "weekday_cos": np.cos(week)}
    return {**turns, "is_weekend": weekday >= 5, "is_night": of_day < _DAY // 4}


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

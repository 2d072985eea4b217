"""Versions on the real Triton: the configuration is read as it is meant, and production is asked by its number."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.cache_folder import cache_folder
from headrace.cli.stack import Server, server
from headrace.open_inference import Tensor
from headrace.open_inference.client.model_client import Asking, PredictorClient
from headrace.runtime import Runtime
from headrace.stores.memory import MemoryStore
from predictor.local_triton.getting import Installed
from predictor.repository import Model, verified, write_model
from predictor.triton import Serving, model_metadata
from tests.headrace.hopsworks.registered import VIEW, small_model
from tests.predictor.triton.running import MODULE, told
from transformer.readiness import reason_not_ready

ROWS = np.array([[0.5, -1.0], [12.0, 30.0], [-3.0, 2.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose production is version 1 and whose candidate, another network, version 2."""
    folder = tmp_path_factory.mktemp("models")
    other = small_model(folder / "other", seed=9)
    content = (other / "1" / "model.onnx").read_bytes()
    directory = small_model(folder)
    told_of_it: dict[str, Any] = {"fingerprint": VIEW.fingerprint, "columns": VIEW.describe(), "outputs": ["p"]}
    serving = Serving(accelerator="tensorrt-fp16", preferred_batch_size=(8, 32))
    write_model(folder, "small", content, **told_of_it, labels={"p": ["honest"]}, serving=serving)
    return directory


@pytest.fixture(scope="module")
def triton(installed: Installed, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--repository", str(model.parent), "--model", "small", "--http-port", "0", "--grpc-port", "0"]
    logs = tmp_path_factory.mktemp("logs")
    with server(MODULE, [*flags, "--cache", str(cache_folder(os.environ))], logs, "predictor") as running:
        yield running


@pytest.fixture(scope="module")
def found(model: Path) -> Model:
    return verified(model)


def scores(found: Model, version: int) -> np.ndarray:
    return Runtime.of(found.models[version]).run(ROWS)["p"]


def asked(address: str, version: str) -> dict[str, Any]:
    tensor = {"name": "features", "shape": [3, 2], "datatype": "FP32", "data": ROWS.ravel().tolist()}
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", f"/v2/models/small{version}/infer", json.dumps({"inputs": [tensor]}))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def test_its_metadata_are_those_that_our_predictor_gives(triton: Server, found: Model) -> None:
    assert told(triton.http, "/v2/models/small") == model_metadata(found.config)


def within(ours: Any, theirs: Any) -> bool:
    """Tell whether all that we wrote is there; what is more are defaults, and the kind of the device that was found."""
    if isinstance(ours, dict):
        return all(key in theirs and (key == "kind" or within(ours[key], theirs[key])) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(within, ours, theirs))
    return bool(ours == theirs)


def test_it_keeps_every_field_of_the_configuration(triton: Server, found: Model) -> None:
    theirs = told(triton.http, "/v2/models/small/config")
    assert all(within(found.config[key], theirs[key]) for key in found.config), theirs


@pytest.mark.parametrize(("path", "version"), [("", 2), ("/versions/1", 1), ("/versions/2", 2)])
def test_without_a_version_the_highest_answers(triton: Server, found: Model, path: str, version: int) -> None:
    answer = asked(triton.http, path)
    assert answer["model_version"] == str(version)
    (output,) = answer["outputs"]
    assert output["shape"] == [3, 1]
    np.testing.assert_allclose(output["data"], scores(found, version), atol=1e-6)


def test_a_version_that_is_not_served_is_not_there(triton: Server) -> None:
    assert "version 3 is not found" in asked(triton.http, "/versions/3")["error"]


def test_every_version_was_warmed_up(triton: Server) -> None:
    stats = told(triton.http, "/v2/models/small/stats")["model_stats"]
    assert sorted(one["version"] for one in stats) == ["1", "2"]
    for one in stats:
        assert {1, 32} <= {run["batch_size"] for run in one["batch_stats"]}


@pytest.mark.parametrize("way", ["v2", "grpc-v2"])
def test_a_transformer_asks_production(triton: Server, found: Model, way: str) -> None:
    async def scene() -> np.ndarray:
        url = f"http://{triton.http if way == 'v2' else triton.grpc}"
        async with PredictorClient(url, "small", how=Asking(way)) as predictor:
            assert await reason_not_ready(VIEW, MemoryStore(), predictor, unproved=False) is None
            assert predictor.version == "1"
            answer = await predictor.infer([Tensor.of("features", ROWS)], ["p"])
            return np.asarray(answer.output("p"))

    np.testing.assert_allclose(asyncio.run(scene()).ravel(), scores(found, 1), atol=1e-6)

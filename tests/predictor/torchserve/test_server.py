"""The real TorchServe loads our archive with our settings: right answers, named refusals, nothing else let in."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headrace.open_inference import Tensor
from headrace.open_inference.client.model_client import PredictorClient
from headrace.open_inference.grpc.messages import INFERENCE
from headrace.runtime import Runtime
from headrace.stores.memory import MemoryStore
from tests.predictor.conftest import COLUMNS, view_of
from tests.predictor.torchserve.conftest import interpreter
from tests.predictor.torchserve.serving import TorchServe
from transformer.readiness import reason_not_ready

pytestmark = pytest.mark.torchserve
ROWS = np.array([[12.5, 30.0, 1.0], [80.0, -1.0, 4.0], [3.0, 61.0, 0.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def served(archived):
    with tempfile.TemporaryDirectory() as folder:  # short: TorchServe's workers listen on sockets in it
        running = TorchServe(interpreter(), archived, Path(folder))
        try:
            running.wait()
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def scores(small):
    return Runtime.of(small[1]).run(ROWS)["p"]


def request_of(rows, raw=False):
    asked = INFERENCE["ModelInferRequest"](model_name="small", id="7")
    tensor = asked.inputs.add(name="features", datatype="FP32", shape=list(rows.shape))
    if raw:
        asked.raw_input_contents.append(rows.tobytes())
    else:
        tensor.contents.fp32_contents.extend(rows.ravel().tolist())
    return asked


def test_it_answers_what_the_repositorys_model_answers(served, small, scores):
    status, answer = served.infer(ROWS.tolist())
    assert status == 200
    assert answer["outputs"][0]["datatype"] == "FP32"
    assert answer["outputs"][0]["data"] == pytest.approx(scores.tolist(), abs=1e-5)
    assert answer["parameters"] == {"headrace_fingerprint": small[0].fingerprint}
    assert answer["id"] == "7"


def test_our_own_client_asks_it_in_binary(served, scores):
    async def ask():
        async with PredictorClient(f"http://127.0.0.1:{served.ports['8080']}", "small") as client:
            return await client.infer([Tensor("features", "FP32", ROWS)], ["p"])

    (output,) = asyncio.run(ask()).outputs
    assert output.array.tolist() == pytest.approx(scores.tolist(), abs=1e-5)


def test_requests_at_once_are_each_answered_by_themselves(served, scores):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda at: served.infer(ROWS[at % 3 : at % 3 + 1].tolist()), range(48)))
    assert {status for status, _ in answers} == {200}
    given = [answer["outputs"][0]["data"][0] for _, answer in answers]
    assert given == pytest.approx([float(scores[at % 3]) for at in range(48)], abs=1e-5)


def test_a_refusal_names_what_is_wrong(served):
    status, answer = served.infer(ROWS.tolist(), datatype="FP64")
    assert (status, answer["error"]) == (400, "input 'features' is FP64, needs FP32")
    status, body = served.http("/v2/models/small/infer", b"{")
    assert (status, json.loads(body)["error"]) == (400, "the body is not JSON, needs a JSON object")


def test_grpc_answers_typed_contents(served, scores):
    answer = served.call("ModelInfer", request_of(ROWS), "ModelInferResponse")
    (output,) = answer.outputs
    assert (answer.id, output.name, output.datatype, list(output.shape)) == ("7", "p", "FP32", [3])
    assert list(output.contents.fp32_contents) == pytest.approx(scores.tolist(), abs=1e-5)


def test_grpc_refuses_what_torchserve_would_drop(served):
    answer = served.call("ModelInfer", request_of(ROWS, raw=True), "ModelInferResponse")
    (output,) = answer.outputs
    assert output.name == "error"
    assert b"'features' has 0 elements, needs 9 for shape [3, 3]: over gRPC" in output.contents.bytes_contents[0]
    assert served.infer(ROWS.tolist())[0] == 200, "its worker lives on"


def test_no_model_can_be_added_or_removed(served):
    for method, path in (("POST", "/models?url=small.mar"), ("DELETE", "/models/small")):
        status, body = served.http(path, b"", port="8081", method=method)
        assert status == 405, body
    assert served.infer(ROWS.tolist())[0] == 200


def test_probes_ask_no_token_and_tell_whether_a_worker_has_the_model(served):
    assert json.loads(served.http("/ping")[1]) == {"status": "Healthy"}
    assert served.http("/predictions/small")[0] == 200
    assert served.http("/predictions/other")[0] == 404
    assert json.loads(served.http("/v2/health/ready")[1]) == {"ready": True}  # whatever became of the model


def test_the_transformer_knows_it_by_its_answer(served, view):
    async def reason(of):
        async with PredictorClient(f"http://127.0.0.1:{served.ports['8080']}", "small") as client:
            return await reason_not_ready(of, MemoryStore(), client, unproved=True)

    assert asyncio.run(reason(view)) is None
    other = view_of(*(dataclasses.replace(column, missing=-7.0) for column in COLUMNS))
    assert "the model was trained on" in asyncio.run(reason(other))

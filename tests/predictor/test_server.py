"""The predictor as a process, judged by the clients its users have."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from headrace.runtime import Runtime

ROWS = [[12.5, 33.0, 2.0], [250.0, -1.0, 0.0]]


@pytest.fixture(scope="module")
def seen(server, published):
    judge = Path(__file__).with_name("judge.py")
    config = published / "small" / "config.pbtxt"
    asked = [sys.executable, str(judge), server.http, server.grpc, json.dumps(ROWS), str(config)]
    return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.fixture(scope="module")
def expected(published):
    return Runtime.open(published / "small" / "1" / "model.onnx").run(np.array(ROWS, dtype=np.float32))["p"]


@pytest.mark.parametrize("client", ["http", "grpc"])
def test_clients_see_what_the_model_says(seen, expected, client):
    answers = seen[client]
    assert answers["live"]
    assert answers["ready"]
    np.testing.assert_allclose(answers["scores"], expected, atol=1e-6)
    np.testing.assert_allclose(answers["one"], expected[:1], atol=1e-6)
    np.testing.assert_allclose(answers["many"], expected, atol=1e-6)


def test_json_tensors_are_answered_alike(seen, expected):
    np.testing.assert_allclose(seen["http"]["json"], expected, atol=1e-6)


@pytest.mark.parametrize("client", ["http", "grpc"])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("wide", "'features' has shape [2, 4], needs [rows, 3]"),
        ("nan", "1 of 2 rows hold NaN or infinity"),
        ("infinite", "1 of 1 rows hold NaN or infinity"),
        ("double", "input 'features' is FP64, needs FP32"),
        ("name", "inputs are 'x', needs 'features' alone"),
        ("output", "'q'"),
    ],
)
def test_what_cannot_be_scored_is_refused_as_the_callers_fault(seen, client, asked, said):
    status, message = seen[client][asked]
    assert status in ("400", "StatusCode.INVALID_ARGUMENT")
    assert said in message


def test_the_configuration_carries_fingerprint_and_columns(seen, view):
    parameters = seen["config"]["parameters"]
    assert parameters["headrace_fingerprint"]["string_value"] == view.fingerprint
    assert [column["name"] for column in json.loads(parameters["headrace_columns"]["string_value"])] == list(view.names)
    assert seen["metadata"]["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 3]}]
    assert seen["metadata"]["outputs"] == [{"name": "p", "datatype": "FP32", "shape": [-1, 1]}]


def test_the_file_for_triton_says_what_the_server_says(seen):
    said, written = seen["config"], seen["config.pbtxt"]
    for key in ("name", "platform", "backend", "parameters"):
        assert written[key] == said[key]
    for key in ("input", "output"):
        [tensor], [served] = written[key], said[key]
        assert (tensor["name"], tensor["data_type"]) == (served["name"], served["data_type"])
        assert [int(size) for size in tensor["dims"]] == served["dims"]


def post_v1(server, body):
    address = f"http://{server.http}/v1/models/small:predict"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_v1_instances(server, expected):
    status, body = post_v1(server, {"instances": ROWS})
    assert status == 200
    np.testing.assert_allclose(body["predictions"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ([[1, 2, 3], [4, 5]], "needs one per row"),
        ([["a", 2, 3]], "needs one per row"),
        ([["1.5", "2", "3"]], "instances are not lists of numbers"),
        ([[True, "1_000", 2]], "instances are not lists of numbers"),
        ([[None, True, 2]], "instances are not lists of numbers"),
        ([[1, 2, 3], [True, 2.5, 3]], "instances are not lists of numbers"),
        ([{"amount": 1}], "needs one per row"),
        ([[1, None, 3]], "NaN or infinity"),
        ([[1, 2]], "needs [rows, 3]"),
        ([], "needs [rows, 3]"),
        (None, "needs an object with a list 'instances'"),
    ],
)
def test_v1_refusals(server, instances, said):
    status, body = post_v1(server, {"instances": instances})
    assert status == 400
    assert said in body["error"]


def refused_start(repository, model="small"):
    given = [sys.executable, "-m", "predictor", "--repository", str(repository), "--model", model]
    done = subprocess.run([*given, "--http-port", "0", "--grpc-port", "0"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_an_altered_model_stops_the_start_with_one_line(repository):
    (repository / "small" / "1" / "model.onnx").write_bytes(b"other")
    code, out, said = refused_start(repository)
    assert (code, out) == (2, "")
    assert said.startswith("predictor: 1/model.onnx of model 'small' has SHA-256 ")
    assert said.count("\n") == 1


def test_an_unknown_model_stops_the_start(repository):
    assert refused_start(repository, "large") == (
        2,
        "",
        "predictor: model 'large' is not in the repository: train one first\n",
    )


def test_serving_needs_neither_torch_nor_scikit_learn():
    check = "import predictor.__main__, sys; print([m for m in ('torch', 'sklearn', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"

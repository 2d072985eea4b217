"""The predictor as a process: several models and versions, what replaces them while it is asked, and its refusals."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from headrace.runtime import Runtime
from predictor import versions
from tests.predictor.conftest import Server
from tests.predictor.shifting import write_version

ROW = [12.5, 33.0, 2.0]
PATIENCE_S = 60.0


@pytest.fixture
def started(repository):
    """Return a function that starts the predictor on the test's own repository."""
    servers = []

    def start(*flags):
        servers.append(Server(repository, "--reload-s", "0.05", *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        assert server.process.wait(20) == 0
        server.process.communicate()


def ask(server, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{server.http}{path}", data), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def score(server, path="/v2/models/small", row=ROW):
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 3], "data": row}
    status, body = ask(server, f"{path}/infer", {"inputs": [tensor]})
    answer = json.loads(body)
    assert status == 200, answer
    return answer["model_version"], answer["outputs"][0]["data"][0]


def until(done):
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end


def test_versions_are_asked_by_number_and_production_without_one(repository, started):
    write_version(repository, 1.0, promote=False)
    server = started()
    expected = {
        version: Runtime.open(repository / "small" / version / "model.onnx").run(np.array([ROW], dtype=np.float32))["p"]
        for version in ("1", "2")
    }
    assert score(server)[0] == "1"
    for version, value in expected.items():
        found = score(server, f"/v2/models/small/versions/{version}")
        assert found[0] == version
        assert found[1] == pytest.approx(float(value[0]), abs=1e-6)
    status, body = ask(server, "/v2/models/small/versions/3/infer", {"inputs": []})
    assert (status, json.loads(body)) == (404, {"error": "model 'small' has no version '3', needs one of 1, 2"})


def test_every_model_is_served_where_none_is_named(repository):
    shutil.copytree(repository / "small", repository / "spoiled")
    given = [sys.executable, "-m", "predictor", "--repository", str(repository), "--http-port", "0"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60)
    said = "predictor: model 'spoiled' has name 'spoiled' in its file and 'small' in its manifest\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_an_empty_repository_is_said(tmp_path):
    given = [sys.executable, "-m", "predictor", "--repository", str(tmp_path), "--http-port", "0"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60)
    said = "predictor: there is no model in the repository, needs one: train it first\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize("flag", ["--threads", "--batch-rows", "--queue-rows", "--cores"])
def test_a_number_of_none_is_refused(repository, flag):
    given = [sys.executable, "-m", "predictor", "--repository", str(repository), flag, "0"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"argument {flag}: '0' is no number of them, needs 1 or more" in done.stderr


def test_what_is_promoted_takes_over_and_no_request_fails(repository, started):
    server, failed, stop = started(), [], threading.Event()
    first = score(server)

    def load():
        while not stop.is_set():
            try:
                failed.extend([] if score(server)[0] in ("1", "2") else ["version"])
            except (AssertionError, OSError) as wrong:
                failed.append(wrong)

    asking = [threading.Thread(target=load) for _ in range(3)]
    for one in asking:
        one.start()
    write_version(repository, 1.0, promote=False)
    until(lambda: ask(server, "/v2/models/small/versions/2/ready")[0] == 200)
    assert score(server) == first
    versions.promote(repository / "small", "candidate")
    until(lambda: score(server)[0] == "2")
    assert score(server, "/v2/models/small/versions/1") == first
    stop.set()
    for one in asking:
        one.join(20)
    assert failed == []
    _, body = ask(server, "/v2/repository/index", {})
    assert [(row["name"], row["version"], row["state"]) for row in json.loads(body)] == [
        ("small", "1", "READY"),
        ("small", "2", "READY"),
    ]
    text = ask(server, "/metrics")[1].decode()
    assert 'headrace_model_loads_total{model_name="small"} 3.0' in text
    assert 'headrace_model_version{model_name="small",production="true",version="2"} 1.0' in text


def test_a_refused_model_is_in_the_metrics_and_the_former_answers(repository, started):
    server = started()
    first = score(server)
    other = repository / "other"
    shutil.copytree(repository / "small", other)
    (other / "1" / "weights.pkl").write_bytes(b"\x80\x04.")
    (repository / "small").rename(repository / ".former")
    other.rename(repository / "small")
    counted = 'headrace_model_refused_total{model_name="small",reason="code"} 1.0'
    until(lambda: counted in ask(server, "/metrics")[1].decode())
    assert score(server) == first
    assert ask(server, "/v2/health/ready")[0] == 200


def test_requests_at_once_are_joined(started):
    server = started("--cores", "1")
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 3], "data": ROW * 2}

    def load():
        for _ in range(20):
            assert ask(server, "/v2/models/small/infer", {"inputs": [tensor]})[0] == 200

    asking = [threading.Thread(target=load) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(60)
    text = ask(server, "/metrics")[1].decode()
    sums = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("headrace_run_")}
    assert sums['headrace_run_requests_sum{model_name="small"}'] == 80
    assert sums['headrace_run_rows_sum{model_name="small"}'] == 160
    assert sums['headrace_run_requests_count{model_name="small"}'] <= 80
    assert 'headrace_queue_rows{model_name="small"} 0.0' in text

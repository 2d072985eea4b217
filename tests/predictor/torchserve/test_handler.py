"""The handler as TorchServe's worker calls it: a batch of requests, each answered by itself."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from predictor.torchserve_handler import OpenInferenceHandler

ROWS = [[12.5, 30.0, 1.0], [80.0, -1.0, 4.0]]


class Context:
    """What a worker tells of a batch, in the words of TorchServe's own."""

    def __init__(self, folder, headers=()):
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
        self.headers, self.status, self.answered = dict(headers), {}, {}

    def get_all_request_header(self, at):
        return self.headers.get(at, {})

    def set_response_status(self, code, phrase, at):
        self.status[at] = code

    def set_response_header(self, at, name, value):
        self.answered[at] = value

    def set_response_content_type(self, at, value):
        assert value == "application/octet-stream"


@pytest.fixture(scope="module")
def folder(archived, tmp_path_factory):
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(archived / "model-store" / "small.mar") as mar:
        mar.extractall(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def worker(folder):
    handler = OpenInferenceHandler()
    handler.initialize(Context(folder))
    return SimpleNamespace(handler=handler, folder=folder)


@pytest.fixture(scope="module")
def scores(small):
    from headrace.runtime import Runtime

    return Runtime.of(small[1]).run(np.array(ROWS, dtype=np.float32))["p"].tolist()


def ask(rows=ROWS, **changed):
    tensor = {"name": "features", "datatype": "FP32", "shape": [len(rows), 3], "data": rows}
    return {"body": {"id": "7", "inputs": [tensor | changed]}}


def refusal(worker, request, headers=()):
    context = Context(worker.folder, headers)
    (answer,) = worker.handler.handle([request], context)
    assert context.status == {0: 400}
    assert {"id", "model_name", "model_version"} < set(answer)  # without them TorchServe's worker dies over gRPC
    assert answer["outputs"] == [{"name": "error", "datatype": "BYTES", "shape": [1], "data": [answer["error"]]}]
    return answer["error"]


def test_an_answer_says_what_the_repository_would(worker, small, scores):
    context = Context(worker.folder)
    (answer,) = worker.handler.handle([ask()], context)
    assert context.status == {}
    output = answer["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("p", "FP32", [2])
    assert output["data"] == pytest.approx(scores, abs=1e-6)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "small", f"{small[0].version}.0")
    assert answer["parameters"] == {"headrace_fingerprint": small[0].fingerprint}


def test_a_refused_request_does_not_fail_its_neighbours(worker, scores):
    context = Context(worker.folder)
    answers = worker.handler.handle([ask(ROWS[:1]), ask(datatype="FP64"), ask(ROWS[1:])], context)
    assert context.status == {1: 400}
    assert [answers[at]["outputs"][0]["data"][0] for at in (0, 2)] == pytest.approx(scores, abs=1e-6)


def test_numbers_in_one_row_after_another_are_a_matrix_too(worker, scores):
    (answer,) = worker.handler.handle([ask(data=[one for row in ROWS for one in row])], Context(worker.folder))
    assert answer["outputs"][0]["data"] == pytest.approx(scores, abs=1e-6)


def test_binary_tensors_go_in_and_come_out(worker, scores):
    tensor = {"name": "features", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    asked = [{"name": "p", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": asked}).encode()
    context = Context(worker.folder, {0: {"Inference-Header-Content-Length": str(len(head))}})
    body = bytearray(head + np.array(ROWS, dtype="<f4").tobytes())
    (answer,) = worker.handler.handle([{"body": body}], context)
    length = int(context.answered[0])
    assert json.loads(answer[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(answer[length:], "<f4").tolist() == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": []}, "'features' has 0 elements, needs 6 for shape [2, 3]: over gRPC they must lie in fp32_contents"),
        ({"datatype": "FP64"}, "input 'features' is FP64, needs FP32"),
        ({"shape": [2, 4]}, "'features' has shape [2, 4], needs [rows, 3]"),
        ({"shape": [-1, 3]}, "'features' has shape [-1, 3], needs [rows, 3]"),
        ({"name": "x"}, "inputs are 'x', needs 'features' alone"),
        ({"data": [[1, 2, float("nan")], [1, 2, 3]]}, "1 of 2 rows hold NaN or infinity, needs numbers"),
        ({"data": [["a", "b", "c"]] * 2}, "the data of 'features' are not numbers, needs one per element"),
        ({"parameters": [1]}, "parameters are list, needs an object"),
        ({"parameters": {"binary_data_size": 8}}, "the body has 0 bytes after its JSON, needs 8 by binary_data_size"),
    ],
)
def test_a_wrong_tensor_is_refused_by_name(worker, changed, said):
    assert refusal(worker, ask(**changed)).startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([1], "the body is list, needs a JSON object"),
        (b"{", "the body is not JSON, needs a JSON object"),
        (b"[]", "the body is a JSON list, needs an object"),
        ({"inputs": []}, "inputs are none, needs 'features' alone"),
        (
            {"inputs": [{"name": "x" * 5000}] * 300},
            f"inputs are {', '.join([chr(39) + 'x' * 59] * 4)} and 296 more, needs 'features' alone",
        ),
    ],
)
def test_a_wrong_body_is_refused(worker, body, said):
    assert refusal(worker, {"body": body}) == said


@pytest.mark.parametrize("request_", [{}, {"body": bytearray()}])
def test_a_probe_asks_for_nothing_and_is_answered(worker, request_):
    context = Context(worker.folder)
    (answer,) = worker.handler.handle([request_], context)
    assert (context.status, answer["model_name"], answer["outputs"]) == ({}, "small", [])


def test_an_output_that_is_not_the_models_is_refused(worker):
    request = ask()
    request["body"]["outputs"] = [{"name": "q"}]
    assert refusal(worker, request) == "output 'q' is unknown, needs one of p"


def test_a_length_beyond_the_body_is_refused(worker):
    said = refusal(worker, {"body": b"{}"}, {0: {"inference-header-content-length": "9"}})
    assert said == "the body has 2 bytes, needs the 9 that its JSON part is said to have"


def test_no_rows_get_no_scores(worker):
    (answer,) = worker.handler.handle([ask([], data=[])], Context(worker.folder))
    assert answer["outputs"][0]["shape"] == [0]


def test_the_handler_imports_nothing_that_torchserve_lacks():
    import ast
    from pathlib import Path

    from predictor import torchserve_handler

    tree = ast.parse(Path(torchserve_handler.__file__).read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found == {"__future__", "json", "numpy", "pathlib", "torch", "typing"}
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["OpenInferenceHandler"]

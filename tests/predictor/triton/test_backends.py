"""A repository made for the GPU image loads as it is, and answers what its models answer."""

from __future__ import annotations

import dataclasses
import socket
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.http
from onnx import TensorProto, helper

from predictor.local_triton.command import Ports, TritonFailed
from predictor.local_triton.getting import Installed
from predictor.local_triton.launching import Triton, launched, started
from predictor.local_triton.runs import run_in

OWN_PACKAGES = Path(sysconfig.get_path("purelib"))
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)

GPU_CONFIG = """
platform: "onnxruntime_onnx"
max_batch_size: 64
input [ {name: "x", data_type: TYPE_FP32, dims: [3]}, {name: "scale", data_type: TYPE_FP32, dims: [1]} ]
output [ {name: "scaled", data_type: TYPE_FP32, dims: [3]},
  {name: "total", data_type: TYPE_FP32, dims: [1], reshape {shape: []}} ]
dynamic_batching { preferred_batch_size: [8], max_queue_delay_microseconds: 100 }
instance_group [ {count: 2, kind: KIND_AUTO} ]
optimization { execution_accelerators { gpu_execution_accelerator: [
  {name: "tensorrt", parameters {key: "precision_mode", value: "FP16"}} ] } }
model_warmup [ {name: "one", batch_size: 1, inputs: [
  {key: "x", value {data_type: TYPE_FP32, dims: [3], zero_data: true}},
  {key: "scale", value {data_type: TYPE_FP32, dims: [1], zero_data: true}} ]} ]
"""
UNBATCHED_CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
input [ {name: "x", data_type: TYPE_FP32, dims: [-1, 3]}, {name: "scale", data_type: TYPE_FP32, dims: [-1, 1]} ]
output [ {name: "scaled", data_type: TYPE_FP32, dims: [-1, 3]}, {name: "total", data_type: TYPE_FP32, dims: [-1]} ]
"""
TORCH_CONFIG = """
platform: "pytorch_libtorch"
max_batch_size: 8
input [ {name: "x", data_type: TYPE_FP32, dims: [3]} ]
output [ {name: "doubled", data_type: TYPE_FP32, dims: [3]},
  {name: "total", data_type: TYPE_FP32, dims: [1], reshape {shape: []}} ]
"""


def scaling() -> bytes:
    """Return a model: x and scale to scaled = x * scale, total = its sum by rows."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "scale"], ["scaled"]),
            helper.make_node("Constant", [], ["axis"], value_ints=[1]),
            helper.make_node("ReduceSum", ["scaled", "axis"], ["total"], keepdims=0),
        ],
        "scaling",
        [value("x", TensorProto.FLOAT, ["rows", 3]), value("scale", TensorProto.FLOAT, ["rows", 1])],
        [value("scaled", TensorProto.FLOAT, ["rows", 3]), value("total", TensorProto.FLOAT, ["rows"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def put(models: Path, name: str, config: str, content: bytes) -> None:
    (models / name / "1").mkdir(parents=True)
    (models / name / "config.pbtxt").write_text(config)
    (models / name / "1" / "model.onnx").write_bytes(content)


@contextmanager
def running(installed: Installed, models: Path, cache: Path, *more: Path) -> Iterator[Triton]:
    with run_in(cache) as run, started(installed, models, run, more_packages=more) as triton:
        yield triton


class Doubling(torch.nn.Module):
    """Twice the rows, and their sums."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x.sum(dim=1)


@pytest.fixture(scope="module")
def client(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tritonclient.http.InferenceServerClient]:
    models = tmp_path_factory.mktemp("models")
    put(models, "gpu", GPU_CONFIG, scaling())
    put(models, "unbatched", UNBATCHED_CONFIG, scaling())
    put(models, "doubling", TORCH_CONFIG, b"")
    torch.jit.script(Doubling()).save(models / "doubling" / "1" / "model.pt")
    free, given = Ports.free, []

    def taken_first(*asked: int) -> Ports:
        given.append(free(*asked))
        return given[-1] if len(given) > 1 else dataclasses.replace(given[-1], http=other.getsockname()[1])

    with pytest.MonkeyPatch.context() as patched, socket.create_server(("127.0.0.1", 0)) as other:
        patched.setattr(Ports, "free", taken_first)  # another takes the first port before Triton does
        with running(installed, models, tmp_path_factory.mktemp("cache"), OWN_PACKAGES) as triton:
            assert len(given) == 2
            yield tritonclient.http.InferenceServerClient(f"127.0.0.1:{triton.ports.http}", concurrency=4)


def asked(x: np.ndarray, scale: np.ndarray) -> list[tritonclient.http.InferInput]:
    inputs = []
    for name, values in (("x", x), ("scale", scale)):
        inputs.append(tritonclient.http.InferInput(name, list(values.shape), "FP32"))
        inputs[-1].set_data_from_numpy(values)
    return inputs


@pytest.mark.parametrize("model", ["gpu", "unbatched"])
def test_an_onnx_model_answers_what_it_says(client: tritonclient.http.InferenceServerClient, model: str) -> None:
    scale = np.array([[1], [2], [3], [4]], dtype=np.float32)
    answer = client.infer(model, asked(ROWS, scale))
    np.testing.assert_array_equal(answer.as_numpy("scaled"), ROWS * scale)
    np.testing.assert_array_equal(answer.as_numpy("total").reshape(-1), (ROWS * scale).sum(axis=1))


@pytest.mark.parametrize("model", ["gpu", "unbatched"])
def test_requests_at_once_get_each_its_own_rows(client: tritonclient.http.InferenceServerClient, model: str) -> None:
    wanted = [tritonclient.http.InferRequestedOutput("total")]
    given = [ROWS[: 1 + number % 4] + number for number in range(24)]
    asking = [client.async_infer(model, asked(x, np.ones((len(x), 1), np.float32)), outputs=wanted) for x in given]
    for x, said in zip(given, asking, strict=True):
        answer = said.get_result()
        assert answer.as_numpy("scaled") is None
        np.testing.assert_array_equal(answer.as_numpy("total").reshape(-1), x.sum(axis=1))


def test_torchscript_answers_what_it_says(client: tritonclient.http.InferenceServerClient) -> None:
    answer = client.infer("doubling", asked(ROWS, ROWS)[:1])
    np.testing.assert_array_equal(answer.as_numpy("doubled"), ROWS * 2)
    np.testing.assert_array_equal(answer.as_numpy("total").reshape(-1), ROWS.sum(axis=1))


def test_models_that_the_backend_cannot_run_are_named(installed: Installed, tmp_path: Path) -> None:
    texts = GPU_CONFIG.replace("TYPE_FP32, dims: [3]}, {name", "TYPE_STRING, dims: [3]}, {name")
    put(tmp_path / "models", "texts", texts[: texts.index("model_warmup")], scaling())
    put(tmp_path / "models", "state", GPU_CONFIG.replace("dynamic_batching", "sequence_batching {}  # "), scaling())
    with run_in(tmp_path) as run, launched(installed, tmp_path / "models", run, Ports.free()) as triton:
        with pytest.raises(TritonFailed, match="reads texts or keeps state, needs a backend that can"):
            triton.wait_ready()
        for name in ("texts", "state"):
            assert [said for said in triton.complaints if said.startswith(f"failed to load '{name}' version 1")]


def test_a_numpy_that_would_give_wrong_values_is_refused(installed: Installed, tmp_path: Path) -> None:
    put(tmp_path / "models", "unbatched", UNBATCHED_CONFIG, scaling())
    wrong = dataclasses.replace(installed, packages=OWN_PACKAGES)
    refusal = rf"failed to load 'unbatched' .*numpy is {np.__version__}, needs 1.x: Triton would read wrong values$"
    with pytest.raises(TritonFailed, match=refusal), running(wrong, tmp_path / "models", tmp_path / "cache"):
        pass

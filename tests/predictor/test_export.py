"""torch, ONNX Runtime and the file on disk give the same answers."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from headrace.runtime import Runtime, RuntimeRefused
from predictor.export import PARITY, apart, parity, publish
from predictor.inputs import TabularInputs
from predictor.repository import ModelRefused


@pytest.fixture
def runtime(published):
    return Runtime.open(published / "small" / "1" / "model.onnx")


def test_torch_and_onnx_agree_also_far_outside_of_training(module, runtime, matrix):
    extremes = np.array([[-1, -1, 0], [1e30, -1e30, 3e38], [0, 0, 0]], dtype=np.float32)
    assert parity(module, runtime, matrix) < 1e-6
    assert parity(module, runtime, extremes) < 1e-6


@pytest.mark.parametrize("rows", [0, 1, 2, 777])
def test_any_number_of_rows(runtime, matrix, rows):
    answer = runtime.run(matrix[:rows])["p"]
    assert answer.shape == (rows,)
    assert answer.dtype == np.float32


def test_a_row_is_answered_alike_alone_and_in_company(runtime, matrix):
    together = runtime.run(matrix[:64])["p"]
    alone = [runtime.run(matrix[at : at + 1])["p"][0] for at in range(64)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_file_knows_its_view_and_needs_no_other_file(published, runtime, view):
    model = onnx.load(published / "small" / "1" / "model.onnx", load_external_data=False)
    assert runtime.fingerprint == view.fingerprint
    assert runtime.properties["headrace_columns"] == '["amount", "age", "visits"]'
    assert not any(weights.external_data for weights in model.graph.initializer)


def test_another_width_is_refused(runtime):
    with pytest.raises(ValueError, match=r"features have shape \[2, 4\], needs \[rows, 3\]"):
        runtime.run(np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"features have shape \[3\], needs \[rows, 3\]"):
        runtime.run(np.zeros(3, dtype=np.float32))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(RuntimeRefused, match="not an ONNX model"):
        Runtime.open(tmp_path / "model.onnx")


def test_a_model_of_other_inputs_is_refused():
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, [None, 2])
    answer = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, [None, 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [answer])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(RuntimeRefused, match=r"reads x tensor\(double\) .*needs one input 'features'"):
        Runtime.of(model.SerializeToString())


class Unlike(nn.Module):
    """Answers otherwise in Python than in a graph."""

    def forward(self, features):
        return features.sum(dim=1) * (1.0 if torch.compiler.is_exporting() else 2.0)


def test_a_model_that_changes_on_export_is_not_published(tmp_path, view, matrix):
    with pytest.raises(ModelRefused, match=r"differs from the trained one by .*, needs at most 1e-05"):
        publish(tmp_path, Unlike(), view, matrix, outputs=["p"])
    assert not list(tmp_path.iterdir())


class Hundreds(nn.Module):
    """Answers in thousands, as amounts are: float32 has six digits of them, whatever the order of a sum."""

    def __init__(self, width):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, rows):
        return 5000.0 + 1000.0 * self.layer(torch.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0) / 10.0).squeeze(-1)


def test_a_model_whose_answers_are_thousands_is_published(tmp_path, view, matrix):
    torch.manual_seed(3)
    module = Hundreds(len(view.names))
    directory, found = publish(tmp_path, module, view, matrix, outputs=["amount"])
    answer = Runtime.open(directory / "1" / "model.onnx").run(matrix)["amount"]
    assert float(np.median(answer)) > 1000
    assert found <= PARITY


def test_how_far_answers_lie_apart_is_a_share_of_those_beyond_one():
    ours = np.array([0.5, -2000.0], dtype=np.float32)
    assert apart(ours, ours + np.array([1e-3, 0], dtype=np.float32)) == pytest.approx(1e-3, rel=1e-3)
    assert apart(ours, ours + np.array([0, 1], dtype=np.float32)) == pytest.approx(5e-4, rel=1e-3)
    assert np.isnan(apart(ours, np.array([np.nan, 0], dtype=np.float32)))


def test_inputs_hold_columns_in_their_range_and_mark_what_is_missing():
    matrix = np.array([[1, -1], [2, 5], [3, 7], [4, 9]], dtype=np.float32)
    inputs = TabularInputs.of(matrix, np.array([-1, -1], dtype=np.float32))
    assert inputs.width == 5  # two columns, their logarithms, one mark: the first column is never missing
    given = inputs(torch.tensor([[100.0, -1.0], [4.0, 5.0]])).numpy()
    np.testing.assert_allclose(given[0, 0], given[1, 0], atol=1e-2)
    assert given[:, 4].tolist() == [1.0, 0.0]


def test_a_constant_column_stays_finite():
    matrix = np.full((10, 2), 7, dtype=np.float32)
    given = TabularInputs.of(matrix, np.array([-1, np.nan], dtype=np.float32))(torch.from_numpy(matrix))
    assert torch.isfinite(given).all()

"""Eight bits for products and sixteen for weights: near the same answers, each row's its own."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from headrace.runtime import Runtime
from predictor.quantising import to_fp16, to_int8
from predictor.rewriting import step
from tests.predictor.test_rewriting import WIDTH, ensemble, kinds, model_of, numbers

ROWS = numbers(2000, WIDTH, seed=3)
SAME = 1e-6


def answers(model, rows=ROWS):
    return Runtime.of(model).run(rows)["p"].reshape(-1)


@pytest.fixture(scope="module")
def large():
    return ensemble(2, 40, "mean")


@pytest.fixture(scope="module")
def int8(large):
    return to_int8(large, ROWS)


def test_the_large_products_are_made_of_bytes(large, int8):
    assert kinds(int8).count("QGemm") == 2
    assert len(int8) < len(large) / 2
    before, after = answers(large), answers(int8)
    assert np.corrcoef(before, after)[0, 1] > 0.999


def test_weights_take_seven_bits(int8):
    held = [numpy_helper.to_array(one) for one in onnx.load_from_string(int8).graph.initializer]
    small = [one for one in held if one.dtype == np.int8 and one.ndim == 2]
    assert len(small) == 2
    assert max(np.abs(one.astype(int)).max() for one in small) == 64


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, 1900), count=st.integers(1, 60), outlier=st.floats(-1e6, 1e6, width=32))
def test_a_rows_answer_does_not_depend_on_its_company(int8, at, count, outlier):
    company = np.vstack([ROWS[at : at + count], np.full((1, WIDTH), outlier, dtype=np.float32)])
    np.testing.assert_allclose(answers(int8, company)[:count], answers(int8, ROWS[at : at + count]), rtol=0, atol=SAME)


def scaled(hidden=256, tail=1.0, sign=(("Sign", "x"),), deeper=False):
    """A network that scales its columns before a layer, the first of which has a tail, and joins two views of them.

    `sign` are the steps, each with what it reads, that make the sign of a column; `deeper` adds a layer.
    """
    made = [f"s{at}" for at in range(len(sign) - 1)] + ["s"]
    nodes = [
        step("Max", ["features", "low"], ["m"]),
        step("Min", ["m", "high"], ["x"]),
        step("Abs", ["x"], ["a"]),
        *[step(kind, read, [out]) for (kind, *read), out in zip(sign, made, strict=True)],
        step("Add", ["a", "unit"], ["a1"]),
        step("Log", ["a1"], ["l"]),
        step("Mul", ["s", "l"], ["sl"]),
        onnx.helper.make_node("Concat", ["x", "sl"], ["both"], axis=1),
        step("Sub", ["both", "centre"], ["c"]),
        step("Mul", ["c", "scale"], ["d"]),
        onnx.helper.make_node("Gather", ["features", "at"], ["picked"], axis=1),
        step("Equal", ["picked", "missing"], ["e"]),
        onnx.helper.make_node("Cast", ["e"], ["marks"], to=1),
        onnx.helper.make_node("Concat", ["d", "marks"], ["f"], axis=1),
        step("MatMul", ["f", "w"], ["g"]),
        step("Add", ["g", "b"], ["h"]),
        step("Gelu", ["h"], ["i"]),
        *([step("MatMul", ["i", "deep"], ["i2"])] if deeper else []),
        step("MatMul", ["i2" if deeper else "i", "w2"], ["j"]),
        step("Squeeze", ["j", "one"], ["p"]),
    ]
    constants = {
        "low": np.full(WIDTH, -2, np.float32),
        "high": np.array([50 * tail, 2, 2, 2, 2], np.float32),
        "unit": np.float32(1),
        "small": np.float32(1e-30),
        "centre": numbers(2 * WIDTH),
        "scale": np.ones(2 * WIDTH, np.float32),
        "at": np.array([1, 4]),
        "missing": np.array([-1, -1], np.float32),
        "w": numbers(2 * WIDTH + 2, hidden, seed=1) / np.array([[20 * tail], *[[1]] * 11], np.float32),
        "b": numbers(hidden, seed=2),
        "w2": numbers(hidden, 1, seed=3),
        "deep": numbers(hidden, hidden, seed=4) / np.float32(hidden**0.5),
        "one": np.array([1]),
    }
    return model_of(nodes, constants)


def test_a_column_with_a_long_tail_leaves_the_others_their_steps():
    rows = ROWS.copy()
    rows[::50, 0] = 900.0
    model = scaled(tail=20.0)
    after = to_int8(model, rows)
    assert kinds(after).count("QGemm") == 1
    usual = rows[rows[:, 0] < 3]
    apart = np.abs(answers(after, usual) - answers(model, usual))
    assert apart.mean() < 0.05 * answers(model, usual).std()


@pytest.mark.parametrize("sign", [(("Sign", "x"),), (("Max", "a", "small"), ("Div", "x", "s0"))])
def test_a_feature_beyond_all_that_was_seen_is_held_as_before(sign):
    model = scaled(sign=sign)
    seen = np.clip(ROWS * 2, -2, 50)
    after = to_int8(model, seen)
    assert not {"Min", "Sign", "Gather"} & set(kinds(after))
    assert kinds(after).count("Max") == kinds(model).count("Max") - 1
    far, edge = np.full((1, WIDTH), 1e6, np.float32), np.array([[50, 2, 2, 2, 2]], np.float32)
    assert answers(model, far) == pytest.approx(answers(model, edge))
    limit = np.array([[seen[:, 0].max(), 2, 2, 2, 2]], np.float32)
    apart = abs(float(answers(after, far)[0] - answers(after, limit)[0]))
    assert apart < 0.05 * answers(model, seen).std()


def test_bounds_stay_where_a_layer_that_is_not_quantised_reads_the_features():
    model = scaled(hidden=64, deeper=True)  # the first product has 768 weights and is not worth it
    after = to_int8(model, np.clip(ROWS * 2, -2, 50))
    assert kinds(after).count("QGemm") == 1
    assert {"Max", "Min"} <= set(kinds(after))
    far, edge = np.full((1, WIDTH), 1e6, np.float32), np.array([[50, 2, 2, 2, 2]], np.float32)
    assert answers(after, far) == pytest.approx(answers(after, edge))


def test_a_model_without_large_products_has_no_int8_variant():
    with pytest.raises(
        ValueError, match="the model has no product with a matrix of 1024 numbers, needs one to make int8"
    ):
        to_int8(ensemble(2, 3, "mean"), ROWS)


def test_a_gelu_between_quantised_layers_becomes_a_rectifier_and_the_next_layer_makes_up_for_it():
    nodes = [
        onnx.helper.make_node("Gemm", ["features", "w", "b"], ["a"]),
        step("Gelu", ["a"], ["c"]),
        step("MatMul", ["c", "w2"], ["d"]),
        step("Gelu", ["d"], ["e"]),
        onnx.helper.make_node("ReduceMean", ["e", "one"], ["p"], keepdims=0),
    ]
    weights = {"w": numbers(WIDTH, 256), "b": numbers(256, seed=1), "w2": numbers(256, 16, seed=2) / 16}
    model = model_of(nodes, {**weights, "one": np.array([1])})
    after = to_int8(model, ROWS[:1000])
    assert kinds(after) == ["QuantizeLinear", "QGemm", "QGemm", "FastGelu", "ReduceMean"]
    later = ROWS[1000:]
    assert np.corrcoef(answers(model, later), answers(after, later))[0, 1] > 0.995


def test_a_model_with_branches_has_no_variant():
    given = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, ["rows"])
    branch = onnx.helper.make_graph([step("Identity", ["a"], ["b"])], "branch", [], [given])
    nodes = [
        onnx.helper.make_node("ReduceSum", ["features", "one"], ["a"], keepdims=0),
        onnx.helper.make_node("If", ["yes"], ["p"], then_branch=branch, else_branch=branch),
    ]
    model = model_of(nodes, {"one": np.array([1]), "yes": np.array(True)})
    with pytest.raises(ValueError, match="the model has If, needs one without branches and loops"):
        to_int8(model, ROWS)


def test_products_of_other_numbers_stay_as_they_are():
    nodes = [
        onnx.helper.make_node("Cast", ["features"], ["d"], to=onnx.TensorProto.DOUBLE),
        step("MatMul", ["d", "w"], ["a"]),
        step("MatMul", ["a", "v"], ["b"]),
        onnx.helper.make_node("Cast", ["b"], ["c"], to=onnx.TensorProto.FLOAT),
        step("Squeeze", ["c", "one"], ["p"]),
    ]
    constants = {"w": np.ones((WIDTH, 300)), "v": np.ones((300, 1)), "one": np.array([1])}
    with pytest.raises(ValueError, match="the model has no product with a matrix of 1024 numbers"):
        to_int8(model_of(nodes, constants), ROWS)


def test_weights_are_kept_in_half_the_bytes(large):
    half = to_fp16(large)
    assert len(half) < 0.65 * len(large)
    assert np.abs(answers(half) - answers(large)).max() < 0.002 * answers(large).std()


def test_a_weight_beyond_float16_is_refused():
    nodes = [
        step("MatMul", ["features", "w"], ["a"]),
        step("MatMul", ["a", "v"], ["b"]),
        step("Squeeze", ["b", "one"], ["p"]),
    ]
    constants = {"w": np.full((WIDTH, 300), 7e4, np.float32), "v": numbers(300, 1), "one": np.array([1])}
    with pytest.raises(ValueError, match="constant 'w' reaches 7e\\+04, needs at most 65504 for float16"):
        to_fp16(model_of(nodes, constants))

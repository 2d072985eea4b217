"""An ONNX graph written otherwise gives the same answers; what would change them is left as it was."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from headrace.runtime import Runtime
from predictor.members import members_side_by_side
from predictor.rewriting import Graph, columns_by_product, layers_as_gemm, signs_as_quotients, step

WIDTH = 5


def model_of(nodes, constants, outputs=("p",)):
    """An ONNX file that reads `features` [rows, WIDTH]."""
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", WIDTH])
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    for answer in answers:
        answer.type.tensor_type.shape.dim.add().dim_param = "rows"
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [features], answers, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def kinds(model):
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def rewritten(model, *passes):
    graph = Graph(model)
    for one in passes:
        one(graph)
    return graph.written()


def same(one, other, rows=None, within=0.0):
    rows = numbers(7, WIDTH, seed=9) if rows is None else rows
    before, after = Runtime.of(one).run(rows), Runtime.of(other).run(rows)
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=within)


def squeezed(value):
    return step("Squeeze", [value, "one"], ["p"])


ONE = {"one": np.array([1])}


def test_a_product_and_its_bias_are_one_layer():
    nodes = [step("MatMul", ["features", "w"], ["a"]), step("Add", ["b", "a"], ["c"]), squeezed("c")]
    model = model_of(nodes, {"w": numbers(WIDTH, 1), "b": numbers(1), **ONE})
    found = rewritten(model, layers_as_gemm)
    assert kinds(found) == ["Gemm", "Squeeze"]
    same(model, found, within=1e-6)


def test_a_layer_that_lies_on_its_side_is_stood_upright():
    nodes = [helper.make_node("Gemm", ["features", "w", "b"], ["a"], transB=1), squeezed("a")]
    model = model_of(nodes, {"w": numbers(1, WIDTH), "b": numbers(1), **ONE})
    found = onnx.load_from_string(rewritten(model, layers_as_gemm))
    assert [one.name for one in found.graph.node[0].attribute] == []
    same(model, found.SerializeToString())


def test_a_sum_that_others_read_stays():
    nodes = [
        step("MatMul", ["features", "w"], ["a"]),
        step("Add", ["a", "b"], ["c"]),
        step("Mul", ["a", "c"], ["d"]),
        squeezed("d"),
    ]
    model = model_of(nodes, {"w": numbers(WIDTH, 1), "b": numbers(1), **ONE})
    found = rewritten(model, layers_as_gemm)
    assert kinds(found) == ["Gemm", "Add", "Mul", "Squeeze"]
    same(model, found, within=1e-6)


def test_columns_are_picked_exactly():
    nodes = [
        helper.make_node("Gather", ["features", "at"], ["a"], axis=1),
        helper.make_node("ReduceSum", ["a", "one"], ["p"], keepdims=0),
    ]
    model = model_of(nodes, {"at": np.array([3, 0, 3]), **ONE})
    found = rewritten(model, columns_by_product)
    assert kinds(found) == ["MatMul", "ReduceSum"]
    same(model, found, rows=numbers(9, WIDTH) * np.float32(1e30))


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.0, 1e-20, -1e-20, 3e38, -3e38])
def test_a_sign_is_a_quotient(value):
    nodes = [
        step("Abs", ["features"], ["a"]),
        step("Sign", ["features"], ["s"]),
        step("Add", ["a", "s"], ["b"]),
        helper.make_node("ReduceMax", ["b", "one"], ["p"], keepdims=0),
    ]
    model = model_of(nodes, ONE)
    found = rewritten(model, signs_as_quotients)
    assert "Sign" not in kinds(found)
    same(model, found, rows=np.full((2, WIDTH), value, dtype=np.float32))


def test_notes_and_what_nothing_is_made_of_are_left_out():
    nodes = [step("Abs", ["features"], ["unused"]), helper.make_node("ReduceMax", ["features", "one"], ["p"])]
    nodes[1].attribute.append(helper.make_attribute("keepdims", 0))
    nodes[1].doc_string = "a note"
    nodes[1].metadata_props.add(key="stack", value="a" * 1000)
    model = model_of(nodes, {**ONE, "spare": numbers(100)})
    found = rewritten(model)
    assert kinds(found) == ["ReduceMax"]
    assert len(found) < 400
    same(model, found)


def ensemble(members, hidden, end, seed=0):
    """A stack of two layers and an end: the members' mean, or something that is not known of them."""
    nodes = [
        step("MatMul", ["features", "w"], ["a"]),
        step("Add", ["a", "b"], ["c"]),
        step("Relu", ["c"], ["d"]),
        step("MatMul", ["d", "w2"], ["e"]),
        step("Add", ["e", "b2"], ["f"]),
        step("Gelu", ["f"], ["g"]),
        step("MatMul", ["g", "w3"], ["h"]),
        step("Add", ["h", "b3"], ["i"]),
    ]
    if end == "mean":
        nodes += [
            step("Squeeze", ["i", "two"], ["j"]),
            helper.make_node("ReduceMean", ["j", "zero"], ["p"], keepdims=0),
        ]
    elif end == "maximum":
        nodes += [step("Squeeze", ["i", "two"], ["j"]), helper.make_node("ReduceMax", ["j", "zero"], ["p"], keepdims=0)]
    else:
        nodes.append(helper.make_node("ReduceMax", ["i", "both"], ["p"], keepdims=0))
    constants = {
        "w": numbers(members, WIDTH, hidden, seed=seed),
        "b": numbers(members, 1, hidden, seed=seed + 1),
        "w2": numbers(members, hidden, hidden + 1, seed=seed + 2),
        "b2": numbers(members, 1, hidden + 1, seed=seed + 3),
        "w3": numbers(members, hidden + 1, 1, seed=seed + 4),
        "b3": numbers(members, 1, 1, seed=seed + 5),
        "two": np.array([2]),
        "zero": np.array([0]),
        "both": np.array([0, 2]),
    }
    return model_of(nodes, constants)


@settings(max_examples=30, deadline=None)
@given(
    members=st.integers(1, 4),
    hidden=st.integers(1, 12),
    end=st.sampled_from(["mean", "maximum", "unknown"]),
    rows=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_members_side_by_side_answer_as_a_stack(members, hidden, end, rows, seed):
    model = ensemble(members, hidden, end, seed)
    found = rewritten(model, members_side_by_side)
    assert "MatMul" not in kinds(found)
    assert ("Transpose" in kinds(found)) == (end != "mean")
    same(model, found, rows=numbers(rows, WIDTH, seed=seed), within=1e-4)


def test_a_stack_of_wide_layers_is_parted_and_joined():
    assert kinds(rewritten(ensemble(2, 9, "mean"), members_side_by_side)) == [
        *("Gemm", "Relu", "Split", "Gemm", "Gemm", "Concat", "Gelu", "Gemm", "ReduceMean")
    ]

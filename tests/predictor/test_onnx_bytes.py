"""Weights that lie outside an ONNX file are found wherever in it they are said to, and by the real writer's bytes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from predictor.onnx_bytes import kept_elsewhere
from tests.predictor.small_models import field


def tensor(location="weights.bin"):
    found = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value=location)
    found.external_data.add(key="offset", value="0")
    return found


def graph(name="g", nodes=(), weights=(), sparse=()):
    return helper.make_graph(nodes, name, [], [], initializer=weights, sparse_initializer=sparse)


def constant(**attributes):
    return helper.make_node("Constant", [], ["y"], **attributes)


def branch(inner):
    return helper.make_node("If", ["c"], ["y"], then_branch=inner)


def sparse():
    values = numpy_helper.from_array(np.ones(1, np.float32), "v")
    return helper.make_sparse_tensor(values, tensor("indices.bin"), [3])


def function():
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_function("ours", "F", [], ["y"], [constant(value=tensor("inside.bin"))], opsets)


MODELS = {
    "weights": (helper.make_model(graph(weights=[tensor("../../etc/passwd")])), ["../../etc/passwd"]),
    "a constant": (helper.make_model(graph(nodes=[constant(value=tensor("/x"))])), ["/x"]),
    "a branch": (helper.make_model(graph(nodes=[branch(graph("b", weights=[tensor()]))])), ["weights.bin"]),
    "two deep": (
        helper.make_model(graph(nodes=[branch(graph("b", nodes=[branch(graph("d", weights=[tensor()]))]))])),
        ["weights.bin"],
    ),
    "a sparse tensor": (helper.make_model(graph(sparse=[sparse()])), ["indices.bin"]),
    "a function": (helper.make_model(graph(), functions=[function()]), ["inside.bin"]),
    "nothing": (helper.make_model(graph(weights=[numpy_helper.from_array(np.ones(300, np.float32), "w")])), []),
}


@pytest.mark.parametrize("where", MODELS)
def test_what_lies_elsewhere_is_found(where):
    model, places = MODELS[where]
    assert [place for place in kept_elsewhere(model.SerializeToString()) if place] == places


def test_training_graphs_are_looked_into():
    model = helper.make_model(graph())
    model.training_info.add(algorithm=graph("t", weights=[tensor("steps.bin")]))
    assert "steps.bin" in kept_elsewhere(model.SerializeToString())


def test_a_tensor_elsewhere_that_does_not_say_where():
    lost = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    assert kept_elsewhere(helper.make_model(graph(weights=[lost])).SerializeToString()) == [""]


def test_what_the_exporter_of_large_models_writes(tmp_path):
    model = helper.make_model(graph(weights=[numpy_helper.from_array(np.ones(4096, np.float32), "w")]))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.data")
    assert "model.data" in kept_elsewhere((tmp_path / "model.onnx").read_bytes())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x3a\x05ab", "it ends within a field"),
        (b"\x3a", "it ends within a number"),
        (b"\xff" * 12, "does not end"),
        (b"\x0b\x0c", "is of kind 3"),
        (b"not a model", "is of kind"),
        (b"\xba\x80\x80\x80\x10\x00", "has a number that none can have"),
    ],
)
def test_bytes_that_are_no_message(content, said):
    with pytest.raises(ValueError, match=said):
        kept_elsewhere(content)


def test_graphs_without_end():
    graph_in_graph = b""
    for _ in range(100):
        graph_in_graph = field(1, field(5, field(6, graph_in_graph)))
    with pytest.raises(ValueError, match="its messages lie more than 64 deep"):
        kept_elsewhere(field(7, graph_in_graph))


def test_a_place_that_only_some_readers_see_is_seen():
    weights = field(14, 2**32 + 1)  # readers keep its lower half, which is 1
    assert kept_elsewhere(field(7, field(5, weights))) == [""]

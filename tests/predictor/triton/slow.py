"""A fraud model that takes its time: what waits while it computes can then be seen without chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from applications.fraud.app import APP
from predictor.repository import write_model
from predictor.triton import Serving
from tests.end_to_end.ground import OUTPUT

WIDTH = len(APP.view.names)
_SIDE = 512


def publish_slow(models: Path, turns: int, serving: Serving) -> Path:
    """Publish a model whose every run multiplies large matrices so many times; return the repository."""
    content = slow_model(turns)
    write_model(
        models,
        APP.name,
        content,
        fingerprint=APP.view.fingerprint,
        columns=APP.view.describe(),
        outputs=[OUTPUT],
        serving=serving,
    )
    return models


def slow_model(turns: int) -> bytes:
    """Return a model that answers 0.5 for every row, after so many products of large matrices."""
    square = [_SIDE, _SIDE]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["held", "zeros"], ["product"]),
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["product", "zeros"], ["next"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, square),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, square),
        ],
    )
    numbers = {"turns": np.int64(turns), "yes": np.bool_(True), "side": np.array(square), "axes": np.array([1])}
    nodes = [
        helper.make_node("ConstantOfShape", ["side"], ["zeros"]),
        helper.make_node("Loop", ["turns", "yes", "zeros"], ["last"], body=body),
        helper.make_node("ReduceSum", ["last"], ["nothing"], keepdims=0),
        helper.make_node("ReduceSum", ["features", "axes"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Sigmoid", ["zero"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="headrace_fingerprint", value=APP.view.fingerprint)
    return model.SerializeToString()

"""An ensemble's members side by side: one wide layer instead of a stack of narrow ones.

A stack of layers [members, in, out] that read the same rows is `MatMul` over three dimensions, which no
runtime quantises with a scale a column and which must be turned about. Written side by side, [rows, members x
out], the first layer is one wide `Gemm`, what is done number by number stays as it is, a later layer is one
`Gemm` a member, and the members' mean is one over columns. The sums and their order are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from predictor.rewriting import Graph, added_to, attribute, step

#: Steps done number by number, wherever the number stands.
_BY_NUMBER = ("Gelu", "Relu", "Tanh", "Sigmoid", "Elu", "LeakyRelu", "Softplus", "Identity")
_NARROW = 8  # members' layers of fewer outputs are one layer, with zeros between the members


@dataclass(frozen=True, slots=True)
class _Flat:
    """A value [members, rows, each] as [rows, members x each]; `squeezed` where it was [members, rows]."""

    name: str
    members: int
    each: int
    squeezed: bool = False


def members_side_by_side(graph: Graph) -> None:
    """Rewrite every stack of layers that reads one matrix, as far as its steps are known."""
    flat: dict[str, _Flat] = {}
    for node in list(graph.nodes):
        if not any(node is one for one in graph.nodes) or not node.input:
            continue  # it went with a step before it
        known = flat.get(node.input[0])
        if node.op_type == "MatMul":
            _layer(graph, flat, node, known)
        elif known is not None and node.op_type in _BY_NUMBER and not known.squeezed:
            made = _Flat(graph.name(), known.members, known.each)
            other = onnx.NodeProto()
            other.CopyFrom(node)
            other.input[0], other.output[0] = known.name, made.name
            flat[node.output[0]] = made
            graph.replace([node], [other])
        elif known is not None and node.op_type == "Squeeze" and known.each == 1 and _axes(graph, node) in ([2], [-1]):
            flat[node.output[0]] = _Flat(known.name, known.members, 1, squeezed=True)
            graph.replace([node], [])
        elif known is not None and node.op_type == "ReduceMean" and known.squeezed and _axes(graph, node) == [0]:
            axes = graph.constant(np.array([1], dtype=np.int64))
            keep = attribute(node, "keepdims", 1)
            if not keep:
                graph.replace([node], [step("ReduceMean", [known.name, axes], node.output, keepdims=0)])
    _turn_back(graph, flat)


def _layer(graph: Graph, flat: dict[str, _Flat], node: onnx.NodeProto, known: _Flat | None) -> None:
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.ndim != 3 or (known is None and graph.rank(node.input[0]) != 2):
        return
    members, width, each = weight.shape
    added, bias = added_to(graph, node.output[0], (members, 1, each))
    if added is None or (known is not None and (known.squeezed or (known.members, known.each) != (members, width))):
        return
    made = _Flat(graph.name(), members, each)
    biases = graph.constants[bias].reshape(members, each)
    if known is None:
        wide = weight.transpose(1, 0, 2).reshape(width, members * each)
        steps = [_gemm(graph, node.input[0], wide, biases.reshape(-1), made.name)]
    elif each < _NARROW:
        wide = np.zeros((members * width, members * each), dtype=weight.dtype)
        for at in range(members):
            wide[at * width : (at + 1) * width, at * each : (at + 1) * each] = weight[at]
        steps = [_gemm(graph, known.name, wide, biases.reshape(-1), made.name)]
    else:
        parts, answers = [graph.name() for _ in range(members)], [graph.name() for _ in range(members)]
        steps = [step("Split", [known.name], parts, axis=1, num_outputs=members)]
        steps += [_gemm(graph, parts[at], weight[at], biases[at], answers[at]) for at in range(members)]
        steps.append(step("Concat", answers, [made.name], axis=1))
    flat[added.output[0]] = made
    graph.replace([node, added], steps)


def _gemm(graph: Graph, value: str, weight: np.ndarray, bias: np.ndarray, out: str) -> onnx.NodeProto:
    return step("Gemm", [value, graph.constant(weight), graph.constant(bias)], [out])


def _axes(graph: Graph, node: onnx.NodeProto) -> list[int] | None:
    found = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    return None if found is None else found.reshape(-1).tolist()


def _turn_back(graph: Graph, flat: dict[str, _Flat]) -> None:
    """Give steps that know nothing of it, and the model's answers, what they read in the shape it had."""
    read = {name for node in graph.nodes for name in node.input} | {one.name for one in graph.model.graph.output}
    for value in [name for name in flat if name in read]:
        was = flat[value]
        parted = graph.name()
        shape = [0, was.members] if was.squeezed else [0, was.members, was.each]
        order = [1, 0] if was.squeezed else [1, 0, 2]
        made = graph.maker(was.name)
        steps = [
            step("Reshape", [was.name, graph.constant(np.array(shape, dtype=np.int64))], [parted]),
            step("Transpose", [parted], [value], perm=order),
        ]
        graph.replace([made], [made, *steps])

"""An ONNX graph written otherwise, with the same answers: fewer and larger steps for the same numbers.

Exporters write what was asked of them, step by step, with notes on where each step came from. Here a layer
becomes one `Gemm`, columns are picked by a product with zeros and ones, which takes a fifth of the time of
`Gather`, a sign is a quotient, and the notes are left out. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from headrace.runtime import INPUT

_TINY = np.float32(1e-37)  # below any number that is not 0 by an accident of rounding


class Graph:
    """An ONNX model being rewritten: its steps in order and its constants by name.

    The model's own names stay those of what they named. Raises ValueError for a model with branches or loops,
    whose steps read values out of sight.
    """

    def __init__(self, model: bytes) -> None:
        self.model = onnx.load_from_string(model)
        inner = [node.op_type for node in self.model.graph.node if any(one.HasField("g") for one in node.attribute)]
        if inner:
            raise ValueError(f"the model has {', '.join(sorted(set(inner)))}, needs one without branches and loops")
        del self.model.graph.value_info[:]  # what was said of shapes may not hold for what becomes of them
        known = onnx.shape_inference.infer_shapes(self.model).graph
        self._ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in (*known.value_info, *known.input)}
        self.constants = {one.name: numpy_helper.to_array(one) for one in known.initializer}
        self.nodes = list(self.model.graph.node)
        self._made = 0

    def rank(self, value: str) -> int | None:
        """Return how many dimensions a value of the model as it was has, None where that is not known."""
        return self._ranks.get(value)

    def of_kind(self, *kinds: str) -> Iterator[onnx.NodeProto]:
        """Yield the steps of some kinds, those that are there at first."""
        yield from [node for node in self.nodes if node.op_type in kinds]

    def producer(self, value: str) -> onnx.NodeProto | None:
        """Return the step that makes a value, None for an input or a constant."""
        return next((node for node in self.nodes if value in node.output), None)

    def maker(self, value: str) -> onnx.NodeProto:
        """Return the step that makes a value which some step makes."""
        return next(node for node in self.nodes if value in node.output)

    def reader(self, value: str) -> onnx.NodeProto:
        """Return the first step that reads a value which some step reads."""
        return next(node for node in self.nodes if value in node.input)

    def only_reader(self, value: str) -> onnx.NodeProto | None:
        """Return the one step that reads a value, None where others do or the model answers it."""
        readers = [node for node in self.nodes if value in node.input]
        answered = any(one.name == value for one in self.model.graph.output)
        return readers[0] if len(readers) == 1 and not answered else None

    def constant(self, array: Any) -> str:
        """Add a constant and return its name."""
        name = self.name()
        self.constants[name] = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        return name

    def name(self) -> str:
        """Return a name for a new value."""
        self._made += 1
        return f"v{self._made}"

    def replace(self, old: Sequence[onnx.NodeProto], new: Sequence[onnx.NodeProto]) -> None:
        """Put steps in the place of others, where the last of those stood; some may be in both."""
        gone = {id(node) for node in old}
        at = max(position for position, node in enumerate(self.nodes) if id(node) in gone)
        before, after = self.nodes[: at + 1], self.nodes[at + 1 :]
        self.nodes = [node for node in before if id(node) not in gone] + [*new, *after]

    def written(self, outputs: Sequence[str] = ()) -> bytes:
        """Return the model's file: what is used, without notes; it answers further values, if they are named."""
        written = onnx.ModelProto()
        written.CopyFrom(self.model)
        graph = written.graph
        del graph.node[:], graph.initializer[:], graph.metadata_props[:]
        self.drop_unused(outputs)
        for node in self.nodes:
            kept = graph.node.add()
            kept.CopyFrom(node)
            del kept.metadata_props[:]
            kept.name = kept.doc_string = ""
        used = {name for node in self.nodes for name in node.input}
        graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self.constants.items() if name in used)
        graph.output.extend(helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, None) for one in outputs)
        if not outputs:
            onnx.checker.check_model(written)
        return written.SerializeToString()

    def drop_unused(self, answers: Sequence[str] = ()) -> None:
        """Leave out steps that nothing is made of that the model answers, or one of `answers`."""
        read, kept = {one.name for one in self.model.graph.output} | set(answers), []
        for node in reversed(self.nodes):
            if not read.isdisjoint(node.output):
                kept.append(node)
                read.update(node.input)
        self.nodes = kept[::-1]


def step(kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> Any:
    """Return a step of a graph."""
    return helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute of a step."""
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def layers_as_gemm(graph: Graph) -> None:
    """Make one upright `Gemm` of a product with a constant matrix and of the sum with its bias."""
    for node in graph.of_kind("MatMul"):
        weight = graph.constants.get(node.input[1])
        if weight is None or weight.ndim != 2 or graph.rank(node.input[0]) != 2:
            continue
        added, bias = added_to(graph, node.output[0], weight.shape[1:])
        ins, old = [*node.input, *([bias] if bias else [])], [node, *([added] if added else [])]
        graph.replace(old, [step("Gemm", ins, old[-1].output)])
    for node in graph.of_kind("Gemm"):
        weight = graph.constants.get(node.input[1])
        if weight is not None and attribute(node, "transB"):
            node.attribute.remove(next(one for one in node.attribute if one.name == "transB"))
            node.input[1] = graph.constant(weight.T)


def added_to(graph: Graph, value: str, shape: Sequence[int]) -> tuple[onnx.NodeProto | None, str]:
    """Return the step that adds a constant of this shape to a value which nobody else reads, and the constant."""
    reader = graph.only_reader(value)
    if reader is not None and reader.op_type == "Add":
        other = next(name for name in (*reader.input, "") if name != value)
        if other in graph.constants and graph.constants[other].shape == tuple(shape):
            return reader, other
    return None, ""


def columns_by_product(graph: Graph) -> None:
    """Pick columns of the features by a product: exact, as features are finite."""
    width = graph.model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    for node in graph.of_kind("Gather"):
        picked = graph.constants.get(node.input[1])
        if node.input[0] != INPUT or attribute(node, "axis", 0) != 1 or picked is None or picked.ndim != 1:
            continue
        chosen = np.zeros((width, picked.size), dtype=np.float32)
        chosen[picked, np.arange(picked.size)] = 1
        graph.replace([node], [step("MatMul", [INPUT, graph.constant(chosen)], node.output)])


def signs_as_quotients(graph: Graph) -> None:
    """Make a sign the quotient of a number and its size, where that is there already: a third of the time."""
    sizes = {node.input[0]: node for node in graph.of_kind("Abs")}
    for node in graph.of_kind("Sign"):
        value = node.input[0]
        if value in sizes:
            more, made = graph.name(), sizes[value]
            steps = [
                step("Add", [made.output[0], graph.constant(_TINY)], [more]),
                step("Div", [value, more], node.output),
            ]
            graph.replace([node, made], [made, *steps])

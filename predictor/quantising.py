"""Smaller numbers for an ONNX model: eight bits for its large products, or sixteen for what is kept.

**int8**: the ranges that values take are measured on rows, once (static), each column of the inputs in its
own range. A row's answer depends on that row alone, whoever it is in a run with: ranges measured anew in each
run, as dynamic quantisation does, would let one caller's outlier change another's answer. Weights take seven
bits of the eight, one scale a column: processors without VNNI instructions add pairs of products in 16 bits,
where 255 x 127 twice does not fit; with seven bits every processor gives the same answers. A GELU between two
such layers becomes a rectifier, which costs nothing there, and the layer after it is fitted to give what it
gave; any other is computed by its tanh form. The steps are ONNX Runtime's own, for processors: a GPU is faster
with the model as it was.

**fp16**: weights are kept in half the bytes and become float32 again as the model is loaded: half the file
and nearly the same answers, at the speed of the same steps in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from headrace.runtime import INPUT, Runtime
from predictor.members import members_side_by_side
from predictor.rewriting import Graph, attribute, columns_by_product, layers_as_gemm, signs_as_quotients, step

MICROSOFT = "com.microsoft"
LEAST_WEIGHTS = 1024  # a smaller product takes less time than to quantise what goes into it
_WEIGHT_MOST, _STEPS = 64, 255
_TAILS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3)  # shares of values that may lie outside of a range
_RIDGE = 1e-4  # keeps a fit near the layer as it was, where rows say little
_NARROWEST = 1e-6  # half of a column's range, at least: one that is always the same has none
# Who reads a value that is given with its signed logarithm.
_SIGNED = ["Abs", "Concat", "Sign"], ["Abs", "Concat", "Div"]
_LOOKED_AT = 1_000_000  # values by which a range is chosen
Range = tuple[np.float32, np.uint8]  # scale and zero point


def to_int8(model: bytes, rows: np.ndarray) -> bytes:
    """Return the model with int8 weights; `rows` float32 [rows, width] are such as it will be asked for.

    Raises ValueError for a model without a product that is worth it.
    """
    graph = Graph(model)
    members_side_by_side(graph)
    layers_as_gemm(graph)
    layers = [node for node in graph.of_kind("Gemm") if _worth(graph, node)]
    if not layers:
        raise ValueError(f"the model has no product with a matrix of {LEAST_WEIGHTS} numbers, needs one to make int8")
    evened = {part for node in layers for part in _even_out(graph, node, rows)}
    sources = {node.input[0]: _source(graph, node.input[0]) for node in layers}
    curved = [node for node in layers if _gelu_between(graph, node, layers)]
    seen = _seen(graph, sorted({*sources.values(), *(node.output[0] for node in curved)}), rows)
    ranges = {value: _range(seen[value]) for value in sources.values()}
    quantised = _quantised_inputs(graph, sources, ranges)
    outs = {}
    for node in curved:
        gelu, before = graph.reader(node.output[0]).output[0], seen[node.output[0]]
        outs[node.output[0]] = ranges[gelu] = _range(np.maximum(before, 0))
        for one in [other for other in layers if sources[other.input[0]] == gelu]:
            _fit_to_rectifier(graph, one, before, seen[gelu])
    for node in layers:
        value = node.input[0]
        _quantise(graph, node, quantised[value], ranges[sources[value]], outs.get(node.output[0]))
    graph.drop_unused()
    for value in outs:
        _leave_out_gelu(graph, value)
    for node in graph.of_kind("Gelu"):
        graph.replace([node], [step("FastGelu", node.input, node.output, MICROSOFT)])
    _clip_by_range(graph, evened)
    columns_by_product(graph)
    signs_as_quotients(graph)
    graph.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return graph.written()


def to_fp16(model: bytes) -> bytes:
    """Return the model with its large float32 constants kept in float16; ValueError where one is out of its range."""
    graph = Graph(model)
    members_side_by_side(graph)
    layers_as_gemm(graph)
    columns_by_product(graph)
    signs_as_quotients(graph)
    graph.drop_unused()
    casts = []
    for name, array in list(graph.constants.items()):
        if array.dtype != np.float32 or array.size < LEAST_WEIGHTS:
            continue
        if (most := float(np.abs(array).max())) > float(np.finfo(np.float16).max):
            raise ValueError(f"constant {name!r} reaches {most:.3g}, needs at most 65504 for float16")
        half = graph.constant(graph.constants.pop(name).astype(np.float16))
        casts.append(step("Cast", [half], [name], to=TensorProto.FLOAT))
    graph.nodes[:0] = casts
    return graph.written()


def _worth(graph: Graph, node: onnx.NodeProto) -> bool:
    weight = graph.constants.get(node.input[1])
    bias = graph.constants.get(node.input[2]) if len(node.input) > 2 else np.zeros(1)
    plain = all(attribute(node, one.name) in (0, 1.0) for one in node.attribute) and not attribute(node, "transA")
    if weight is None or weight.dtype != np.float32 or weight.size < LEAST_WEIGHTS:
        return False
    return plain and bias is not None and bias.ndim == 1


def _seen(graph: Graph, values: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what values are for these rows."""
    wanted = tuple(value for value in values if value != INPUT)
    found = Runtime.of(graph.written(wanted)).run(rows, wanted) if wanted else {}
    return found | ({INPUT: rows} if INPUT in values else {})


def _even_out(graph: Graph, layer: onnx.NodeProto, rows: np.ndarray) -> list[str]:
    """Bring each column of a layer's input into -1 to 1, where it is scaled by constants just before; return the parts.

    One range holds all columns of a matrix: a column with a long tail would leave the others a few steps.
    """
    joined = graph.producer(layer.input[0])
    if joined is None or joined.op_type != "Concat" or graph.only_reader(layer.input[0]) is None:
        return []
    seen, at, evened = _seen(graph, list(joined.input), rows), 0, []
    weight = graph.constants[layer.input[1]].astype(np.float64)
    bias = graph.constants[layer.input[2]].astype(np.float64) if len(layer.input) > 2 else np.zeros(weight.shape[1])
    for part in joined.input:
        here = slice(at, at + seen[part].shape[1])
        at = here.stop
        if (scaling := _scaling(graph, part)) is None:
            continue
        centred, scaled = scaling
        centre, scale = graph.constants[centred.input[1]], graph.constants[scaled.input[1]]
        low, high = seen[part].min(axis=0).astype(np.float64), seen[part].max(axis=0).astype(np.float64)
        middle, half = (low + high) / 2, np.maximum((high - low) / 2, _NARROWEST)
        centred.input[1] = graph.constant((centre + middle / scale).astype(np.float32))
        scaled.input[1] = graph.constant((scale / half).astype(np.float32))
        bias += middle @ weight[here]
        weight[here] *= half[:, None]
        evened.append(part)
    constants = graph.constant(weight.astype(np.float32)), graph.constant(bias.astype(np.float32))
    layer.input[:] = [layer.input[0], *constants]
    return evened


def _scaling(graph: Graph, value: str) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """Return the steps (x - centre) * scale that make a value for one reader, centre and scale one number a column."""
    scaled = graph.producer(value)
    centred = graph.producer(scaled.input[0]) if scaled is not None and scaled.op_type == "Mul" else None
    if scaled is None or centred is None or centred.op_type != "Sub" or graph.only_reader(value) is None:
        return None
    centre, scale = graph.constants.get(centred.input[1]), graph.constants.get(scaled.input[1])
    if centre is None or scale is None or centre.ndim != 1 or centre.shape != scale.shape or not (scale > 0).all():
        return None
    return centred, scaled


def _clip_by_range(graph: Graph, evened: Collection[str]) -> None:
    """Leave out that features are held within bounds, where the range of a quantised column holds them as well.

    So it is where a column only grows with its feature, as it is, or as its signed logarithm, and where all that is
    made of it ends in columns that were evened out: any other layer, and a float32 one, would read it unbounded.
    """
    for node in graph.of_kind("Min"):
        least, held = graph.producer(node.input[0]), node.output[0]
        readers = sorted(one.op_type for one in graph.nodes if held in one.input)
        if least is None or least.op_type != "Max" or least.input[0] != INPUT or readers not in _SIGNED:
            continue
        if not _ends_in(graph, held, evened):
            continue
        for one in graph.nodes:
            one.input[:] = [INPUT if name == held else name for name in one.input]
        graph.replace([least, node], [])


def _ends_in(graph: Graph, value: str, ends: Collection[str]) -> bool:
    """Tell whether whatever is made of a value is made of one of the ends."""
    if value in ends:
        return True
    made = [out for node in graph.nodes if value in node.input for out in node.output]
    return bool(made) and all(_ends_in(graph, one, ends) for one in made)


def _source(graph: Graph, value: str) -> str:
    """Return the value that is to be quantised for a layer's input: what it is a part of."""
    parted = graph.producer(value)
    return parted.input[0] if parted is not None and parted.op_type == "Split" else value


def _range(values: np.ndarray) -> Range:
    """Return the range that loses least; 0 lies in it, and is kept exactly."""
    flat = np.sort(values.reshape(-1)[:: max(1, values.size // _LOOKED_AT)].astype(np.float64))

    def of_tail(tail: float) -> tuple[float, Range]:
        out = int(tail * flat.size)
        low, high = min(flat[out], 0.0), max(flat[flat.size - 1 - out], 0.0)
        scale = np.float32((high - low) / _STEPS or 1.0)
        zero = np.clip(np.round(-low / scale), 0, _STEPS)
        lost = (np.clip(np.round(flat / scale) + zero, 0, _STEPS) - zero) * scale - flat
        return float((lost**2).mean()), (scale, np.uint8(zero))

    return min(map(of_tail, _TAILS), key=lambda one: one[0])[1]


def _quantised_inputs(graph: Graph, sources: dict[str, str], ranges: dict[str, Range]) -> dict[str, str]:
    """Quantise each source once, part it as it was parted, and return the new name of each layer's input."""
    names = {}
    for value in dict.fromkeys(sources.values()):
        whole = names[value] = graph.name()
        scale, zero = ranges[value]
        steps = [step("QuantizeLinear", [value, graph.constant(scale), graph.constant(zero)], [whole])]
        parted = next((node for node in graph.of_kind("Split") if node.input[0] == value), None)
        if parted is not None:
            names |= {part: graph.name() for part in parted.output}
            steps.append(
                step("Split", [whole], [names[part] for part in parted.output], axis=1, num_outputs=len(parted.output))
            )
        made = graph.producer(value)
        if made is None:
            graph.nodes[:0] = steps
        else:
            graph.replace([made], [made, *steps])
    return names


def _gelu_between(graph: Graph, layer: onnx.NodeProto, layers: Sequence[onnx.NodeProto]) -> bool:
    """Tell whether nothing but GELU stands between a layer and those that will be quantised."""
    gelu = graph.only_reader(layer.output[0])
    reader = graph.only_reader(gelu.output[0]) if gelu is not None and gelu.op_type == "Gelu" else None
    if reader is None:
        return False
    last = [graph.only_reader(part) for part in reader.output] if reader.op_type == "Split" else [reader]
    return all(any(one is node for node in layers) for one in last)


def _fit_to_rectifier(graph: Graph, layer: onnx.NodeProto, before: np.ndarray, after: np.ndarray) -> None:
    """Fit a layer that read GELU's values, or a part of them, to give nearly the same for those of a rectifier."""
    parted, width = graph.producer(layer.input[0]), len(graph.constants[layer.input[1]])
    first = list(parted.output).index(layer.input[0]) * width if parted is not None and parted.op_type == "Split" else 0
    part = slice(first, first + width)
    weight = graph.constants[layer.input[1]].astype(np.float64)
    bias = graph.constants[layer.input[2]] if len(layer.input) > 2 else np.zeros(weight.shape[1])
    rectified = np.column_stack([np.maximum(before[:, part], 0), np.ones(len(before))]).astype(np.float64)
    was = np.vstack([weight, bias])
    lost = after[:, part] @ weight + bias - rectified @ was
    moments = rectified.T @ rectified / len(before) + _RIDGE * np.eye(width + 1)
    fitted = (was + np.linalg.solve(moments, rectified.T @ lost / len(before))).astype(np.float32)
    layer.input[:] = [layer.input[0], graph.constant(fitted[:-1]), graph.constant(fitted[-1])]


def _leave_out_gelu(graph: Graph, value: str) -> None:
    """Let a layer give bytes to the next one: its range begins at 0, which is the rectifier."""
    layer, gelu = graph.maker(value), graph.reader(value)
    rounded = graph.reader(gelu.output[0])
    layer.output[:] = rounded.output
    graph.replace([gelu, rounded], [])


def _quantise(graph: Graph, node: onnx.NodeProto, value: str, range_: Range, out: Range | None) -> None:
    scale, zero = range_
    weight = graph.constants[node.input[1]].astype(np.float64)
    scales = np.abs(weight).max(axis=0) / _WEIGHT_MOST
    scales[scales == 0] = 1.0
    scales = scales.astype(np.float32)
    small = np.round(weight / scales).astype(np.int8)
    ins = [value, graph.constant(scale), graph.constant(zero), graph.constant(small), graph.constant(scales)]
    ins.append(graph.constant(np.zeros(scales.shape, dtype=np.int8)))
    if len(node.input) > 2:
        bias = np.round(graph.constants[node.input[2]] / (scales.astype(np.float64) * scale))
        ins.append(graph.constant(np.clip(bias, -(2**31), 2**31 - 1).astype(np.int32)))
    if out is not None:
        ins += [*([] if len(node.input) > 2 else [""]), graph.constant(out[0]), graph.constant(out[1])]
    graph.replace([node], [step("QGemm", ins, node.output, MICROSOFT)])

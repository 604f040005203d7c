"""Importers of QuantizeLinear and DequantizeLinear: quantized models as the real numbers that they stand for."""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import AvgPool, Combine, Concat, MaxPool, Pad, Pick, Reach, Relu, Reshape
from .importer import Importer, Unsupported, attributes
from .layout import emit_view, operand_view
from .views import View, copy_value, materialize

QUANTIZED_KINDS = (np.uint8, np.int8, np.uint16, np.int16)
MOVES_INTEGERS = frozenset(
    ("Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze", "Transpose")
) | {"Unsqueeze"}
READS_INTEGERS = MOVES_INTEGERS | {"Cast", "DequantizeLinear"}


def check_integers(graph: Importer, node: onnx.NodeProto) -> None:
    """Refuse a node that computes with integers as such; moving them about is fine, and so is their maximum."""
    if node.op_type not in READS_INTEGERS and any(name in graph.quantized for name in node.input):
        raise Unsupported("it computes with integers; cast or dequantize them before")


def pass_integers_on(graph: Importer, node: onnx.NodeProto) -> None:
    """What was made of integers by moving them about are integers too."""
    if node.op_type in MOVES_INTEGERS and node.input[0] in graph.quantized:
        graph.quantized |= dict.fromkeys(filter(None, node.output), graph.quantized[node.input[0]])


def import_quantize(graph: Importer, node: onnx.NodeProto) -> None:
    """The rounding is left out. Where the smallest integer stands for zero, what is below zero was cut off: a ReLU.

    Everywhere else, how far the integers reach is noted at a copy: `keep_saturation` cuts it where that matters.
    """
    zero = graph.optional_constant(node, 2, "zero point")
    zero = np.zeros((), np.uint8) if zero is None else zero
    if zero.dtype not in QUANTIZED_KINDS:
        raise Unsupported(f"it rounds to {zero.dtype}, expected integers of 8 or 16 bits")
    scale, integers = graph.constant(node, 1, "scale"), np.iinfo(zero.dtype)
    if not (scale > 0).all():
        raise Unsupported("its scale is not positive")
    if (zero == integers.min).any() and (zero != integers.min).any():
        raise Unsupported("its zero points cut off some channels at zero and others not")
    if (zero == integers.min).any():
        materialize(graph, node, graph.operand(node, 0))
    view = operand_view(graph, node)
    if (zero == integers.min).any() and not _is_nonnegative(graph, view.base):
        name = f"{node.output[0]}.relu"
        graph.emit_as(Relu, node, (view.base,), graph.shapes[view.base], name, graph.unique(name))
        view = View(name, view.index)
    copy = f"{node.output[0]}.reached"
    graph.emit_as(Combine, node, (view.base,), graph.shapes[view.base], copy, graph.unique(copy), scales=(np.ones(1),))
    least, largest = ((np.float64(end) - zero) * scale for end in (integers.min, integers.max))
    graph.reaches[copy] = Reach(float(np.max(least)), float(np.min(largest)), max(scale.size, zero.size) > 1)
    emit_view(graph, node, View(copy, view.index))
    graph.quantized[node.output[0]] = (scale, zero)


def import_dequantize(graph: Importer, node: onnx.NodeProto) -> None:
    """The real numbers that QuantizeLinear got, or (x - zero point) * scale of the pixels."""
    name = graph.operand(node, 0)
    if name not in graph.quantized:
        raise Unsupported("its input does not come from QuantizeLinear, and is not the image")
    scale, zero = graph.constant(node, 1, "scale"), graph.optional_constant(node, 2, "zero point")
    known = graph.quantized[name]
    if known is not None:
        zero = np.zeros((), known[1].dtype) if zero is None else zero
        if not (np.array_equal(known[0], scale) and np.array_equal(known[1], zero)):
            raise Unsupported("its scale and zero point are not those of the QuantizeLinear before it")
        copy_value(graph, name, node.output[0])
        return
    materialize(graph, node, name)
    factor = np.asarray(scale, np.float64).reshape(-1)
    shift = -np.asarray(0 if zero is None else zero, np.float64).reshape(-1) * factor
    shape = graph.shape(node)
    if factor.size not in (1, shape[0]) or (factor.size > 1 and int(attributes(node).get("axis", 1)) != 1):
        raise Unsupported(f"{factor.size} scales do not fit {shape[0]} channels")
    graph.emit(Combine, node, (graph.tensor(node),), shape, scales=(factor,), addend=shift)


def _is_nonnegative(graph: Importer, tensor: str) -> bool:
    makers = {node.output: node for node in graph.nodes}
    pending = [tensor]
    while pending:
        match makers.get(pending.pop()):
            case Relu():
                pass
            case MaxPool() | AvgPool() | Reshape() | Concat() | Pad() | Pick() as node:
                pending += node.inputs
            case Combine() as node if all((s >= 0).all() for s in node.scales) and (node.addend >= 0).all():
                pending += node.inputs
            case _:
                return False
    return True

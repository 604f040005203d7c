"""Importers of ONNX operators that move words or do nothing: reshapes, concatenation, padding, identities."""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Concat, Pad, Reshape, Shape
from .importer import Importer, Unsupported, attributes


def import_flatten(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node)
    axis = int(attributes(node).get("axis", 1))
    if axis not in (1, -len(shape)):
        raise Unsupported(f"axis {axis} is not supported: only 1, which keeps the batch")
    _flatten(graph, node, shape)


def import_reshape(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node)
    wanted = [int(size) for size in graph.constant(node, 1, "shape").reshape(-1)]
    if attributes(node).get("allowzero", 0) and 0 in wanted:
        raise Unsupported(f"the shape {wanted} would be empty")
    full = (graph.batch, *shape)
    if any(size == 0 and axis >= len(full) for axis, size in enumerate(wanted)):
        raise Unsupported(f"the shape {wanted} copies an axis that its input does not have")
    sizes = [full[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    try:
        result = np.broadcast_to(np.float32(0), full).reshape(sizes).shape
    except (ValueError, TypeError, OverflowError) as error:
        raise Unsupported(f"the shape {wanted} does not fit {list(full)}") from error
    if result == full:
        graph.alias(node)
    elif len(result) == 2 and result[0] == graph.batch:
        _flatten(graph, node, shape)
    else:
        raise Unsupported(f"from {list(full)} to {list(result)}; only flattening to [N, features] is supported")


def import_squeeze(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    axes = attributes(node).get("axes")
    if axes is None:
        listed = graph.optional_constant(node, 1, "axes")
        axes = None if listed is None else listed.reshape(-1).tolist()
    if axes is None or {int(axis) % 4 for axis in axes} != {2, 3} or shape[1:] != (1, 1):
        raise Unsupported("only the two spatial axes of [N, C, 1, 1] can be squeezed")
    _flatten(graph, node, shape)


def _flatten(graph: Importer, node: onnx.NodeProto, shape: Shape) -> None:
    if len(shape) == 1:
        graph.alias(node)
    else:
        graph.emit(Reshape, node, (graph.tensor(node),), (int(np.prod(shape)),))


def import_identity(graph: Importer, node: onnx.NodeProto) -> None:
    graph.alias(node)


def import_dropout(graph: Importer, node: onnx.NodeProto) -> None:
    training = graph.optional_constant(node, 2, "training_mode")
    if training is not None and training.any():
        raise Unsupported("it is in training mode; export the model for inference")
    graph.alias(node)


def import_cast(graph: Importer, node: onnx.NodeProto) -> None:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    if attributes(node).get("to") not in kinds:
        raise Unsupported("only casts between floating point types are supported")
    graph.alias(node)


def import_concat(graph: Importer, node: onnx.NodeProto) -> None:
    shapes = [graph.shape(node, index) for index in range(len(node.input))]
    axis = int(attributes(node).get("axis", 1))
    if axis not in (1, -len(shapes[0])) or any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise Unsupported(f"axis {axis} of {[list(shape) for shape in shapes]}: only channels can be concatenated")
    channels = sum(shape[0] for shape in shapes)
    inputs = tuple(graph.tensor(node, index) for index in range(len(node.input)))
    if len(inputs) == 1:
        graph.alias(node)
    else:
        graph.emit(Concat, node, inputs, (channels, *shapes[0][1:]))


def import_pad(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    mode = attributes(node).get("mode", "constant")
    if mode != "constant":
        raise Unsupported(f"mode {mode!r} is not supported: only constant zeros")
    value = graph.optional_constant(node, 2, "value")
    if value is not None and value.any():
        raise Unsupported("only padding with zeros is supported")
    pads = [int(item) for item in graph.constant(node, 1, "pads").reshape(-1)]
    listed = graph.optional_constant(node, 3, "axes")
    axes = list(range(4)) if listed is None else [int(axis) % 4 for axis in listed.reshape(-1)]
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"{len(pads)} pads for {len(axes)} axes")
    before, after = [0] * 4, [0] * 4
    for position, axis in enumerate(axes):
        before[axis], after[axis] = pads[position], pads[position + len(axes)]
    if any(before[:2]) or any(after[:2]) or min(before + after) < 0:
        raise Unsupported(f"pads {pads} are not supported: only zeros around the image")
    padding = (before[2], before[3], after[2], after[3])
    size = (shape[0], shape[1] + padding[0] + padding[2], shape[2] + padding[1] + padding[3])
    graph.emit(Pad, node, (graph.tensor(node),), size, padding=padding)

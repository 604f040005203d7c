"""Importers of ONNX operators that move words of a tensor or do nothing: reshapes, transposes, picks, repetitions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx

from ..graph import Reshape
from .attributes import FLOATING
from .importer import ELEMENTS_LIMIT, Importer, Unsupported, attributes
from .views import View, copy_value, put_view, view_of


def operand_view(graph: Importer, node: onnx.NodeProto) -> View:
    """The first input as a view; a flattened tensor as one of the image that it is made of."""
    view = view_of(graph, graph.operand(node, 0))
    image = graph.flattened.get(view.base)
    return view if image is None else View(image, view.index)


def emit_view(graph: Importer, node: onnx.NodeProto, view: View) -> None:
    """Name a view; the image flattened in its own order is a tensor of its own."""
    size = math.prod(graph.shapes[view.base])
    in_order = view.index.shape == (graph.batch, size) and len(graph.shapes[view.base]) == 3
    if not in_order or not np.array_equal(view.index.reshape(-1), np.arange(view.index.size)):
        put_view(graph, node.output[0], view)
        return
    for flat, image in graph.flattened.items():
        if image == view.base:
            graph.names[node.output[0]] = flat
            return
    graph.emit(Reshape, node, (view.base,), (size,))
    graph.flattened[node.output[0]] = view.base


def listed_axes(graph: Importer, node: onnx.NodeProto, rank: int, default: list[int] | None = None) -> list[int] | None:
    """The attribute or input `axes`, from 0 to rank - 1."""
    listed = attributes(node).get("axes")
    if listed is None:
        given = graph.optional_constant(node, 1, "axes")
        if given is None:
            return default
        listed = given.reshape(-1).tolist()
    return axes_of(listed, rank)


def axes_of(listed: Iterable[int], rank: int) -> list[int]:
    """Axes as a node says them, from 0 to rank - 1."""
    axes = [int(axis) for axis in listed]
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise Unsupported(f"its axes {axes} are not those of a tensor of {rank} axes")
    return [axis % rank for axis in axes]


def import_flatten(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    rank = view.index.ndim
    axis = int(attributes(node).get("axis", 1))
    if axis not in (1, 1 - rank):
        raise Unsupported(f"axis {axis} is not supported: only 1, which keeps the batch")
    emit_view(graph, node, View(view.base, view.index.reshape(view.index.shape[0], -1)))


def import_reshape(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    wanted = [int(size) for size in graph.constant(node, 1, "shape").reshape(-1)]
    if attributes(node).get("allowzero", 0) and 0 in wanted:
        raise Unsupported(f"the shape {wanted} would be empty")
    full = view.index.shape
    if any(size < -1 for size in wanted):
        raise Unsupported(f"the shape {wanted} has a negative size")
    if any(size == 0 and axis >= len(full) for axis, size in enumerate(wanted)):
        raise Unsupported(f"the shape {wanted} copies an axis that its input does not have")
    sizes = [full[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    try:
        index = view.index.reshape(sizes)
    except (ValueError, TypeError, OverflowError) as error:
        raise Unsupported(f"the shape {wanted} does not fit {list(full)}") from error
    emit_view(graph, node, View(view.base, index))


def import_squeeze(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    shape = view.index.shape
    ones = [axis for axis, size in enumerate(shape) if size == 1 and axis > 0]
    axes = listed_axes(graph, node, len(shape), ones) or []
    if any(shape[axis] != 1 for axis in axes):
        raise Unsupported(f"its axes {axes} of {list(shape)} cannot be squeezed: they are longer than one")
    emit_view(graph, node, View(view.base, view.index.squeeze(tuple(axes))))


def import_unsqueeze(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    listed = attributes(node).get("axes")
    axes = list(graph.constant(node, 1, "axes").reshape(-1) if listed is None else listed)
    axes = axes_of(axes, view.index.ndim + len(axes))
    emit_view(graph, node, View(view.base, np.expand_dims(view.index, tuple(axes))))


def import_transpose(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    order = [int(axis) for axis in attributes(node).get("perm", range(view.index.ndim)[::-1])]
    if sorted(order) != list(range(view.index.ndim)):
        raise Unsupported(f"its perm {order} is no order of {view.index.ndim} axes")
    emit_view(graph, node, View(view.base, view.index.transpose(order)))


def import_slice(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    given, rank = attributes(node), view.index.ndim
    if "starts" in given:
        starts, ends, listed, stepped = given["starts"], given["ends"], given.get("axes"), None
    else:
        starts, ends = (graph.constant(node, i, what).reshape(-1) for i, what in ((1, "starts"), (2, "ends")))
        listed, stepped = (graph.optional_constant(node, i, what) for i, what in ((3, "axes"), (4, "steps")))
    axes = list(range(len(starts))) if listed is None else axes_of(listed, rank)
    steps = [1] * len(starts) if stepped is None else [int(step) for step in stepped]
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps or len(axes) > rank:
        raise Unsupported(f"its starts, ends, axes and steps do not fit a tensor of {rank} axes")
    taken = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken[axis] = slice(int(start), int(end), step)
    emit_view(graph, node, View(view.base, view.index[tuple(taken)]))


def import_split(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    given = attributes(node)
    (axis,) = axes_of([given.get("axis", 0)], view.index.ndim)
    size, parts = view.index.shape[axis], len(node.output)
    listed = given.get("split")
    if listed is None:
        second = graph.optional_constant(node, 1, "split")
        width = -(-size // parts)
        listed = [width] * (parts - 1) + [size - width * (parts - 1)] if second is None else second.reshape(-1)
    sizes = [int(part) for part in listed]
    if sum(sizes) != size or len(sizes) != parts or min(sizes) < 1:
        raise Unsupported(f"its parts {sizes} do not fit the {size} places of axis {axis}")
    pieces = np.split(view.index, np.cumsum(sizes)[:-1], axis=axis)
    for name, piece in zip(node.output, pieces, strict=True):
        if name:
            put_view(graph, name, View(view.base, piece))


def import_gather(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    (axis,) = axes_of([attributes(node).get("axis", 0)], view.index.ndim)
    picked = graph.constant(node, 1, "indices")
    if picked.dtype.kind not in "iu" or not picked.size:
        raise Unsupported("its indices are not whole numbers")
    size = view.index.shape[axis]
    if picked.min() < -size or picked.max() >= size:
        raise Unsupported(f"its indices reach beyond the {size} places of axis {axis}")
    emit_view(graph, node, View(view.base, np.take(view.index, picked % size, axis=axis)))


def import_expand(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    sizes = [int(size) for size in graph.constant(node, 1, "shape").reshape(-1)]
    try:
        shape = np.broadcast_shapes(view.index.shape, tuple(sizes))
    except ValueError as error:
        raise Unsupported(f"the shape {sizes} does not fit {list(view.index.shape)}") from error
    put_view(graph, node.output[0], View(view.base, np.broadcast_to(view.index, shape)))


def import_tile(graph: Importer, node: onnx.NodeProto) -> None:
    view = operand_view(graph, node)
    repeats = [int(count) for count in graph.constant(node, 1, "repeats").reshape(-1)]
    if len(repeats) != view.index.ndim or min(repeats) < 1 or repeats[0] != 1:
        raise Unsupported(
            f"its repeats {repeats} of {list(view.index.shape)} are not 1 for the batch and more for others"
        )
    check_elements([size * count for size, count in zip(view.index.shape, repeats, strict=True)])
    emit_view(graph, node, View(view.base, np.tile(view.index, repeats)))


def import_space_to_depth(graph: Importer, node: onnx.NodeProto) -> None:
    """Blocks of pixels become channels: those of the block's first pixel first, or of the first channel (mode CRD)."""
    view, block, mode = _blocks(graph, node)
    batch, channels, height, width = view.index.shape
    if height % block or width % block:
        raise Unsupported(f"its blocks of {block} do not fit an image of {[height, width]}")
    split = view.index.reshape(batch, channels, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = split.transpose(order).reshape(batch, -1, height // block, width // block)
    emit_view(graph, node, View(view.base, moved))


def import_depth_to_space(graph: Importer, node: onnx.NodeProto) -> None:
    """Channels become blocks of pixels; which channels are one pixel's, `mode` says."""
    view, block, mode = _blocks(graph, node)
    batch, channels, height, width = view.index.shape
    if channels % block**2:
        raise Unsupported(f"its blocks of {block} do not fit {channels} channels")
    if mode == "DCR":
        split = view.index.reshape(batch, block, block, -1, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        split = view.index.reshape(batch, -1, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    emit_view(graph, node, View(view.base, split.reshape(batch, -1, height * block, width * block)))


def _blocks(graph: Importer, node: onnx.NodeProto) -> tuple[View, int, str]:
    view, given = operand_view(graph, node), attributes(node)
    block, mode = int(given.get("blocksize", 0)), str(given.get("mode", "DCR"))
    if mode not in ("DCR", "CRD"):
        raise Unsupported(f"mode {mode!r} is unknown")
    if view.index.ndim != 4 or block < 1:
        raise Unsupported(f"its blocks of {block} are not those of an image")
    return view, block, mode


def check_elements(sizes: list[int]) -> None:
    """Refuse a result that would be large, before it is made."""
    if math.prod(sizes) > ELEMENTS_LIMIT:
        raise Unsupported(f"its output of {sizes} elements is too large")


def import_identity(graph: Importer, node: onnx.NodeProto) -> None:
    copy_value(graph, graph.operand(node, 0), node.output[0])


def import_dropout(graph: Importer, node: onnx.NodeProto) -> None:
    training = graph.optional_constant(node, 2, "training_mode")
    if training is not None and training.any():
        raise Unsupported("it is in training mode; export the model for inference")
    import_identity(graph, node)


def import_cast(graph: Importer, node: onnx.NodeProto) -> None:
    if attributes(node).get("to") not in FLOATING:
        raise Unsupported("only casts to floating point types are supported")
    if graph.quantized.get(graph.operand(node, 0)) is not None:
        raise Unsupported("it reads what QuantizeLinear rounds, expected DequantizeLinear")
    import_identity(graph, node)


def import_cast_like(graph: Importer, node: onnx.NodeProto) -> None:
    """To the type of its second input, of which every tensor that is not quantized is floating point."""
    like = graph.operand(node, 1)
    if like in graph.constants and graph.constants[like].dtype.kind != "f":
        raise Unsupported("only casts to floating point types are supported")
    if graph.quantized.keys() & {like, graph.operand(node, 0)}:
        raise Unsupported("it reads whole numbers, expected DequantizeLinear or Cast before")
    import_identity(graph, node)

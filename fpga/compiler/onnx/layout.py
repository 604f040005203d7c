"""Importers of ONNX operators that move words or do nothing: reshapes, transposes, picks, concatenation, padding."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx

from ..graph import Concat, Pad, Reshape
from .attributes import FLOATING
from .importer import ELEMENTS_LIMIT, Importer, Unsupported, attributes
from .views import View, copy_value, is_permutation, materialize, one_image, put_view, view_of


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


def import_concat(graph: Importer, node: onnx.NodeProto) -> None:
    """Channels side by side; along another axis, the same tensors side by side and a view of them."""
    names = list(node.input)
    if len(names) == 1:
        import_identity(graph, node)
        return
    for name in names:
        if not is_permutation(graph, view_of(graph, name)):
            materialize(graph, node, name)
    views = [view_of(graph, name) for name in names]
    shapes = [graph.shapes[view.base] for view in views]
    ranks = {view.index.ndim for view in views}
    axis = int(attributes(node).get("axis", 1))
    if len(ranks) != 1 or not -min(ranks) <= axis < min(ranks) or any(s[1:] != shapes[0][1:] for s in shapes):
        shown = [list(view.index.shape) for view in views]
        raise Unsupported(f"axis {axis} of {shown}: their sizes on the other axes differ")
    joined = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    bases = tuple(view.base for view in views)
    axis %= min(ranks)
    if axis == 1 and all(name in graph.names for name in names):
        graph.emit(Concat, node, bases, joined)
        return
    starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    try:
        index = np.concatenate(
            [one_image(graph, view)[None] + start for view, start in zip(views, starts, strict=False)], axis=axis
        )
    except ValueError as error:
        raise Unsupported(f"axis {axis} of {[list(view.index.shape) for view in views]}") from error
    if graph.batch > 1:
        index = np.concatenate([index + image * math.prod(joined) for image in range(graph.batch)])
    inner = f"{node.output[0]}.inner"
    graph.emit_as(Concat, node, bases, joined, inner, graph.unique(node.name or node.output[0]))
    put_view(graph, node.output[0], View(inner, index.astype(np.int32)))


def import_pad(graph: Importer, node: onnx.NodeProto) -> None:
    """Zeros around the image of a whole tensor; elsewhere a view with places that are zero."""
    view = operand_view(graph, node)
    rank = view.index.ndim
    mode = attributes(node).get("mode", "constant")
    if mode != "constant":
        raise Unsupported(f"mode {mode!r} is not supported: only constant zeros")
    value = graph.optional_constant(node, 2, "value")
    if (value is not None and value.any()) or attributes(node).get("value", 0):
        raise Unsupported("only padding with zeros is supported")
    listed_pads = attributes(node).get("pads")
    pads = [
        int(item)
        for item in (graph.constant(node, 1, "pads") if listed_pads is None else np.array(listed_pads)).reshape(-1)
    ]
    listed = graph.optional_constant(node, 3, "axes")
    axes = list(range(rank)) if listed is None else axes_of(listed.reshape(-1), rank)
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"{len(pads)} pads for {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = pads[position], pads[position + len(axes)]
    if before[0] or after[0] or min(before + after) < 0:
        raise Unsupported(f"pads {pads} are not supported: only zeros around an image")
    name = graph.operand(node, 0)
    if name in graph.names and rank == 4 and not (before[1] or after[1]):
        shape, padding = graph.shape(node), (before[2], before[3], after[2], after[3])
        size = (shape[0], shape[1] + padding[0] + padding[2], shape[2] + padding[1] + padding[3])
        graph.emit(Pad, node, (graph.tensor(node),), size, padding=padding)
        return
    sizes = [size + low + high for size, low, high in zip(view.index.shape, before, after, strict=True)]
    if math.prod(sizes) > ELEMENTS_LIMIT:
        raise Unsupported(f"its output of {sizes} elements is too large")
    index = np.pad(view.index, list(zip(before, after, strict=True)), constant_values=-1)
    put_view(graph, node.output[0], View(view.base, index))

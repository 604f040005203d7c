"""Importers of Concat and Pad: tensors beside each other, and what lies around one: zeros, or words of it again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..graph import Combine, Concat, Pad
from .arithmetic import import_add
from .importer import Importer, Unsupported, attributes
from .layout import axes_of, check_elements, emit_view, import_identity, operand_view
from .views import View, flattened, is_permutation, materialize, one_image, put_view, view_of

#: ONNX's names of what lies around an image -> numpy's.
MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def import_pad(graph: Importer, node: onnx.NodeProto) -> None:
    """Zeros around the image of a whole tensor; every other kind is a view, which costs nothing either."""
    view, given = operand_view(graph, node), attributes(node)
    rank, mode = view.index.ndim, given.get("mode", "constant")
    if mode not in MODES:
        raise Unsupported(f"mode {mode!r} is unknown")
    before, after = _widths(graph, node, rank)
    if before[0] or after[0]:
        raise Unsupported(f"pads {[*before, *after]} are not supported: they change the batch")
    outside = _outside(graph, node) if mode == "constant" else 0.0
    name = graph.operand(node, 0)
    if name in graph.names and rank == 4 and not (before[1] or after[1] or outside) and mode == "constant":
        padding = (before[2], before[3], after[2], after[3])
        if min(padding) >= 0:
            shape = graph.shape(node)
            size = (shape[0], shape[1] + padding[0] + padding[2], shape[2] + padding[1] + padding[3])
            graph.emit(Pad, node, (graph.tensor(node),), size, padding=padding)
            return
    index = _padded(view.index, before, after, mode)
    if not outside:
        put_view(graph, node.output[0], View(view.base, index))
        return
    inner, addend = f"{node.output[0]}.zeros", f"{node.output[0]}.outside"
    put_view(graph, inner, View(view.base, index))
    materialize(graph, node, inner)
    graph.constants[addend] = np.where(index[:1] < 0, outside, 0.0)
    import_add(graph, helper.make_node("Add", [inner, addend], [node.output[0]], name=node.name))


def _widths(graph: Importer, node: onnx.NodeProto, rank: int) -> tuple[list[int], list[int]]:
    """How far each axis is padded before and after its places; what is negative is cut off."""
    listed = attributes(node).get("pads")
    pads = [int(item) for item in (graph.constant(node, 1, "pads") if listed is None else np.array(listed)).reshape(-1)]
    named = graph.optional_constant(node, 3, "axes")
    axes = list(range(rank)) if named is None else axes_of(named.reshape(-1), rank)
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"{len(pads)} pads for {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        before[axis], after[axis] = pads[position], pads[position + len(axes)]
    return before, after


def _outside(graph: Importer, node: onnx.NodeProto) -> float:
    value = graph.optional_constant(node, 2, "value")
    if value is not None and value.size != 1:
        raise Unsupported(f"its value has the shape {list(value.shape)}, expected one number")
    return float(attributes(node).get("value", 0.0) if value is None else value.reshape(-1)[0])


def _padded(index: np.ndarray, before: list[int], after: list[int], mode: str) -> np.ndarray:
    """The index array cut where pads are negative, then padded; of a constant, the new places are zero (-1)."""
    kept = [slice(max(0, -low), size - max(0, -high)) for size, low, high in zip(index.shape, before, after)]
    if any(part.start >= part.stop for part in kept):
        raise Unsupported(f"pads {[*before, *after]} leave nothing of {list(index.shape)}")
    cut, widths = index[tuple(kept)], [(max(0, low), max(0, high)) for low, high in zip(before, after)]
    check_elements([size + low + high for size, (low, high) in zip(cut.shape, widths)])
    if mode == "constant":
        return np.pad(cut, widths, constant_values=-1)
    reach = [size - (mode == "reflect") for size in cut.shape]
    if mode != "edge" and any(max(pair) > most for pair, most in zip(widths, reach)):
        raise Unsupported(f"pads {[*before, *after]} of mode {mode!r} reach beyond an input of {list(cut.shape)}")
    return np.pad(cut, widths, mode=MODES[mode])  # type: ignore[call-overload,no-any-return]


def pads_of_maxima(model: onnx.ModelProto) -> None:
    """Leave out Pads with the least number that only maxima read: as their own padding, it is never the largest."""
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Constant" and node.output}
    values |= {name: _told(each) for name, node in makers.items() for each in node.attribute}
    gone = {name for node in list(graph.node) if node.op_type == "Pad" and (name := _merged(graph, node, values))}
    read = {name for node in graph.node for name in node.input}
    unread = [node for name, node in makers.items() if name in gone - read]
    for node in unread:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in gone - read]:
        graph.initializer.remove(tensor)


def _told(attribute: onnx.AttributeProto) -> onnx.TensorProto:
    """What a Constant says, in whichever way; nothing where that is no list of numbers."""
    lists = {"value_float": [attribute.f], "value_floats": attribute.floats, "value_ints": attribute.ints}
    if attribute.name == "value":
        return attribute.t
    kind = np.int64 if attribute.name == "value_ints" else np.float32
    return numpy_helper.from_array(np.array(lists.get(attribute.name, []), kind))


def _merged(graph: onnx.GraphProto, pad: onnx.NodeProto, values: Mapping[str, onnx.TensorProto]) -> str | None:
    """Give a Pad's places to the maxima that read it, and take it out; returns the name of its value."""
    readers = [node for node in graph.node if pad.output[0] in node.input]
    needed = {output.name for output in graph.output}
    if len(pad.input) != 3 or not readers or pad.output[0] in needed or not {*pad.input[1:]} <= values.keys():
        return None
    try:
        pads, value = (numpy_helper.to_array(values[name]).reshape(-1) for name in pad.input[1:])
    except (ValueError, TypeError, KeyError):  # damaged tensors are told where they are read
        return None
    least = value.size == 1 and value.dtype.kind == "f" and value[0] <= np.finfo(np.float32).min / 2
    constant = all(each.name == "mode" and each.s == b"constant" for each in pad.attribute)
    if not (least and constant) or pads.size != 8 or pads[[0, 1, 4, 5]].any() or pads.min() < 0:
        return None
    given = [{each.name: each for each in node.attribute} for node in readers]
    plain = all(
        node.op_type == "MaxPool" and "ceil_mode" not in own and own.get("auto_pad") is None
        for node, own in zip(readers, given, strict=True)
    )
    if not plain:
        return None
    for node, own in zip(readers, given, strict=True):
        listed = list(own["pads"].ints) if "pads" in own else [0, 0, 0, 0]
        if "pads" in own:
            node.attribute.remove(own["pads"])
        sums = [int(more) + have for more, have in zip(pads[[2, 3, 6, 7]], listed, strict=True)]
        node.attribute.append(helper.make_attribute("pads", sums))
        node.input[0] = pad.input[0]
    graph.node.remove(pad)
    return pad.input[2]


def import_concat(graph: Importer, node: onnx.NodeProto) -> None:
    """Channels side by side; along another axis, the same tensors side by side and a view of them."""
    names = list(node.input)
    if len(names) == 1:
        import_identity(graph, node)
        return
    axis = int(attributes(node).get("axis", 1))
    if _joined_view(graph, node, axis):
        return
    for name in names:
        if not is_permutation(graph, view_of(graph, name)):
            materialize(graph, node, name)
    views = [view_of(graph, name) for name in names]
    ranks = {view.index.ndim for view in views}
    if len(ranks) != 1 or not -min(ranks) <= axis < min(ranks):
        raise Unsupported(f"axis {axis} of {[list(view.index.shape) for view in views]}: their axes differ")
    axis %= min(ranks)
    shapes = [graph.shapes[view.base] for view in views]
    if axis == 1 and all(name in graph.names for name in names) and all(s[1:] == shapes[0][1:] for s in shapes):
        graph.emit(Concat, node, tuple(view.base for view in views), (sum(s[0] for s in shapes), *shapes[0][1:]))
        return
    if any(s[1:] != shapes[0][1:] for s in shapes) and min(ranks) == 4:
        _sum_of_padded(graph, node, views, axis)
    else:
        _concat_of_words(graph, node, views, axis)


def _joined_view(graph: Importer, node: onnx.NodeProto, axis: int) -> bool:
    """Parts of one tensor, put together again, are a view of it."""
    views = [view_of(graph, name) for name in node.input]
    if all(name in graph.names for name in node.input) or len({view.base for view in views}) > 1:
        return False
    emit_view(graph, node, View(views[0].base, _concatenated([view.index for view in views], axis)))
    return True


def _sum_of_padded(graph: Importer, node: onnx.NodeProto, views: list[View], axis: int) -> None:
    """Images of different sizes beside each other: each with zeros where the others are, added up."""
    whole = _concatenated([view.index for view in views], axis).shape
    inputs, first = [], 0
    for place, view in enumerate(views):
        end = first + view.index.shape[axis]
        widths = [(first, whole[axis] - end) if other == axis else (0, 0) for other in range(len(whole))]
        label = f"{node.output[0]}.part{place}"
        put_view(graph, label, View(view.base, np.pad(view.index, widths, constant_values=-1)))
        materialize(graph, node, label)
        inputs.append(graph.names[label])
        first = end
    shape, ones = graph.shapes[inputs[0]], tuple(np.ones(1) for _ in inputs)
    graph.emit(Combine, node, tuple(inputs), shape, scales=ones, addend=np.zeros(1))


def _concat_of_words(graph: Importer, node: onnx.NodeProto, views: list[View], axis: int) -> None:
    """A view of the words of all tensors, one after the other: as channels where their images are of one size."""
    images = [one_image(graph, view)[None] for view in views]
    shapes = [graph.shapes[view.base] for view in views]
    starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    index = _concatenated([image + start for image, start in zip(images, starts, strict=False)], axis)
    bases = tuple(view.base for view in views)
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        bases = tuple(flattened(graph, node, base) for base in bases)
    joined = (sum(graph.shapes[base][0] for base in bases), *graph.shapes[bases[0]][1:])
    if graph.batch > 1:
        index = np.concatenate([index + image * math.prod(joined) for image in range(graph.batch)])
    inner = f"{node.output[0]}.inner"
    graph.emit_as(Concat, node, bases, joined, inner, graph.unique(node.name or node.output[0]))
    put_view(graph, node.output[0], View(inner, index.astype(np.int32)))


def _concatenated(parts: list[np.ndarray], axis: int) -> np.ndarray:
    try:
        return np.concatenate(parts, axis=axis)
    except ValueError as error:
        shown = [list(part.shape) for part in parts]
        raise Unsupported(f"axis {axis} of {shown}: their sizes on the other axes differ") from error

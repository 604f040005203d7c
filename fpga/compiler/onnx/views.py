"""Layout followed symbolically: an ONNX value that only holds words of a tensor in another order.

A view is a tensor of the graph and an index array of the value's ONNX shape, batch included, that says which word of
the tensor every element is (-1: zero). Transpose, Reshape, Slice, Gather, Split, Pad and Expand are that operator on
the index array. Nothing is emitted until somebody computes with the value.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from ...program.picks import separate
from ..graph import Pick, Reshape, Shape
from .importer import ELEMENTS_LIMIT, Importer, Unsupported, View


def view_of(graph: Importer, name: str) -> View:
    """The ONNX value as a view, whether or not it is a whole tensor."""
    if name in graph.views and name not in graph.names:
        return graph.views[name]
    if name not in graph.names:
        kind = "is a constant, expected" if name in graph.constants else "is not available, expected"
        raise Unsupported(f"its input {name!r} {kind} a tensor that depends on the image")
    base = graph.names[name]
    shape = (graph.batch, *graph.shapes[base])
    return View(base, np.arange(math.prod(shape), dtype=np.int32).reshape(shape))


def put_view(graph: Importer, name: str, view: View) -> None:
    """Name a view; one that is its whole tensor again is that tensor."""
    if view.index.size < 1:
        raise Unsupported(f"its output would be empty: {list(view.index.shape)}")
    if view.index.size > graph.batch * ELEMENTS_LIMIT:
        raise Unsupported(f"its output of {list(view.index.shape)} elements is too large")
    shape = (graph.batch, *graph.shapes[view.base])
    whole = view.index.size == math.prod(shape) and np.array_equal(view.index.reshape(-1), np.arange(view.index.size))
    if whole and view.index.shape == shape:
        graph.names[name] = view.base
    else:
        graph.views[name] = view


def copy_value(graph: Importer, source: str, output: str) -> None:
    """`output` is the same value as `source`."""
    if source in graph.views and source not in graph.names:
        graph.views[output] = graph.views[source]
    elif source in graph.names:
        graph.names[output] = graph.names[source]
    else:
        put_view(graph, output, view_of(graph, source))


def one_image(graph: Importer, view: View) -> np.ndarray:
    """The index array of the first image, if every image's is its own and alike."""
    index, size = view.index, math.prod(graph.shapes[view.base])
    if index.ndim < 1 or index.shape[0] != graph.batch:
        raise Unsupported(f"its input of the shape {list(index.shape)} does not keep the batch as its first axis")
    for image in range(graph.batch):
        if not np.array_equal(index[image], np.where(index[0] < 0, -1, index[0] + image * size)):
            raise Unsupported("its input mixes the images of a batch")
    if graph.batch > 1 and (index[0] >= size).any():
        raise Unsupported("its input mixes the images of a batch")
    return np.asarray(index[0])


def is_permutation(graph: Importer, view: View) -> bool:
    """Whether every word of the tensor is there once."""
    total = graph.batch * math.prod(graph.shapes[view.base])
    flat = view.index.reshape(-1)
    return flat.size == total and int(flat.min()) >= 0 and np.unique(flat).size == total


def is_channels_last(graph: Importer, view: View) -> bool:
    """Whether the value is [N, H, W, C] of an image."""
    shape = (graph.batch, *graph.shapes[view.base])
    if len(shape) != 4 or view.index.shape != (shape[0], *shape[2:], shape[1]):
        return False
    return np.array_equal(view.index.transpose(0, 3, 1, 2).reshape(-1), np.arange(view.index.size))


def flattened(graph: Importer, node: onnx.NodeProto, image: str) -> str:
    """The flat tensor of an image in its own order, made where it is not there yet."""
    if len(graph.shapes[image]) == 1:
        return image
    for flat, source in graph.flattened.items():
        if source == image:
            return flat
    flat = f"{image}.flat"
    graph.emit_as(Reshape, node, (image,), (math.prod(graph.shapes[image]),), flat, graph.unique(flat))
    graph.flattened[flat] = image
    return flat


def materialize(graph: Importer, node: onnx.NodeProto, name: str) -> None:
    """Make a tensor of a view, [N, features] or [N, C, H, W], for a node that computes with it."""
    if name in graph.names or name not in graph.views:
        return
    view = graph.views[name]
    index = one_image(graph, view)
    if index.ndim not in (1, 3):
        shown = ", ".join(map(str, ("N", *index.shape)))
        raise Unsupported(f"its input has the shape [{shown}], expected [N, C, H, W] or [N, features]")
    base = graph.shapes[view.base]
    shape: Shape = tuple(int(size) for size in index.shape)
    label = graph.unique(f"{name}.layout")
    if len(shape) == 1 and index.size == math.prod(base) and np.array_equal(index, np.arange(index.size)):
        graph.names[name] = flattened(graph, node, view.base)
        return
    offsets = separate(index)
    if offsets is None:
        raise Unsupported("its input is put together from pixels in an order that is not rows times columns")
    graph.emit_as(Pick, node, (view.base,), shape, name, label, offsets=offsets)


def in_base_layout(graph: Importer, view: View, value: np.ndarray) -> np.ndarray:
    """A constant that broadcasts over the value, as one over its tensor: [1, *shape]."""
    if value.size == 1:
        return value.reshape(())
    index = one_image(graph, view)
    try:
        spread = np.broadcast_to(value, (graph.batch, *index.shape))
    except ValueError as error:
        raise Unsupported(
            f"a constant of the shape {list(value.shape)} does not fit an input of {list(view.index.shape)}"
        ) from error
    if any((spread[image] != spread[0]).any() for image in range(1, graph.batch)):
        raise Unsupported("a constant differs between the images of a batch")
    shape = graph.shapes[view.base]
    result = np.empty(math.prod(shape), value.dtype)
    result[index.reshape(-1)] = spread[0].reshape(-1)
    return result.reshape(1, *shape)


def factor_on_base(graph: Importer, view: View, factor: View) -> str | None:
    """The tensor behind `factor` where that is one number per channel of the tensor behind `view`, a permutation."""
    shape, channels = graph.shapes[view.base], graph.shapes[factor.base][0]
    if len(shape) != 3 or graph.shapes[factor.base] != (shape[0], 1, 1) or not is_permutation(graph, view):
        return None
    try:
        spread = np.broadcast_to(one_image(graph, factor), one_image(graph, view).shape)
    except ValueError:
        return None
    moved = np.empty(math.prod(shape), np.int64)
    moved[one_image(graph, view).reshape(-1)] = spread.reshape(-1)
    alike = (moved.reshape(channels, -1) == np.arange(channels)[:, None]).all()
    return factor.base if alike else None


def base_of_all(graph: Importer, names: list[str]) -> list[View] | None:
    """The views of elementwise operands, where all are one permutation of tensors of one shape."""
    views = [view_of(graph, name) for name in names]
    first = views[0]
    if not is_permutation(graph, first):
        return None
    for view in views[1:]:
        if graph.shapes[view.base] != graph.shapes[first.base] or not np.array_equal(view.index, first.index):
            return None
    return views

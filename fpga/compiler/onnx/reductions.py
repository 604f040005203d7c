"""Importers of ReduceMean, ReduceSum and ReduceMax over image axes, at once or one by one, in any layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from ..graph import AvgPool, MaxPool
from .importer import Importer, Unsupported, attributes
from .layout import emit_view, listed_axes, operand_view
from .views import View, one_image
from .windows import global_average

#: Height and width of what is pooled, and which axes of [C, H, W] stay.
Window = tuple[int, int]


def import_reduce_mean(graph: Importer, node: onnx.NodeProto) -> None:
    _import_reduction(graph, node, mean=True)


def import_reduce_sum(graph: Importer, node: onnx.NodeProto) -> None:
    _import_reduction(graph, node, mean=False)


def import_reduce_max(graph: Importer, node: onnx.NodeProto) -> None:
    _import_reduction(graph, node, mean=None)


def _import_reduction(graph: Importer, node: onnx.NodeProto, mean: bool | None) -> None:
    """A mean, a sum (`mean` is False) or a maximum (None) over whole rows, columns or images of a tensor."""
    view = operand_view(graph, node)
    rank, given = view.index.ndim, attributes(node)
    axes = sorted(set(listed_axes(graph, node, rank) or []))
    keep = bool(given.get("keepdims", 1))
    if not axes and given.get("noop_with_empty_axes", 0):
        emit_view(graph, node, view)
        return
    if mean and axes == [2, 3] and rank == 4 and graph.operand(node, 0) in graph.names:
        global_average(graph, node, keep_axes=keep)
        return
    if not axes or 0 in axes:
        raise Unsupported(f"axes {axes} would mix the images of a batch")
    index = one_image(graph, view)
    kept = [axis for axis in range(1, rank) if axis not in axes]
    count = math.prod(view.index.shape[axis] for axis in axes)
    rows = np.moveaxis(index, [axis - 1 for axis in kept], range(len(kept))).reshape(-1, count)
    shape = tuple(1 if axis in axes else view.index.shape[axis] for axis in range(1, rank) if keep or axis not in axes)
    if count == 1:
        emit_view(graph, node, _of_batch(graph, view.base, rows.reshape(shape)))
        return
    base = graph.shapes[view.base]
    if len(base) != 3 or (rows < 0).any():
        raise Unsupported(f"axes {axes} of {list(view.index.shape)}: only whole rows, columns or images are reduced")
    window, places = _window(base, rows, axes)
    fields: dict[str, Any] = {"kernel": window, "stride": (1, 1)}
    if mean is not None:
        fields["divisor"] = float(count) if mean else 1.0
    size = (base[0], base[1] - window[0] + 1, base[2] - window[1] + 1)
    pooled = f"{node.output[0]}.pooled"
    name = graph.unique(node.name or node.output[0])
    graph.emit_as(MaxPool if mean is None else AvgPool, node, (view.base,), size, pooled, name, **fields)
    emit_view(graph, node, _of_batch(graph, pooled, places.reshape(shape)))


def _window(base: tuple[int, ...], rows: np.ndarray, axes: list[int]) -> tuple[Window, np.ndarray]:
    """The pooling window, and the flat place in the pooled tensor that each of the `rows` of words is reduced to."""
    _, height, width = base
    channel, row, column = rows // (height * width), rows // width % height, rows % width
    every = rows.shape[1] == (np.diff(np.sort(rows, axis=1)) > 0).sum(axis=1) + 1

    def alike(values: np.ndarray) -> bool:
        return bool((values == values[:, :1]).all())

    if every.all() and alike(channel):
        if rows.shape[1] == height * width:
            return (height, width), channel[:, 0]
        if rows.shape[1] == width and alike(row):
            return (1, width), channel[:, 0] * height + row[:, 0]
        if rows.shape[1] == height and alike(column):
            return (height, 1), channel[:, 0] * width + column[:, 0]
    raise Unsupported(f"axes {axes}: only whole rows, columns or images of a tensor are reduced, not channels")


def _of_batch(graph: Importer, base: str, index: np.ndarray) -> View:
    """A view of every image from that of one."""
    size = math.prod(graph.shapes[base])
    return View(base, np.stack([index + image * size for image in range(graph.batch)]).astype(np.int32))

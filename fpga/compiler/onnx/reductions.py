"""Importers of ReduceMean, ReduceSum and ReduceMax over any axes of an image, in any layout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from ..graph import AvgPool, MaxPool
from .importer import Importer, Unsupported, attributes
from .layout import emit_view, listed_axes, operand_view
from .views import View, materialize, one_image, put_view
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
    """A mean, a sum (`mean` is False) or a maximum (None)."""
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
    base, places = view.base, _window(graph.shapes[view.base], rows)
    if places is None:
        base, places = _gathered(graph, node, View(base, rows)), ((count, 1), np.arange(len(rows)))
    window, pixels = places
    fields: dict[str, Any] = {"kernel": window, "stride": (1, 1)}
    if mean is not None:
        fields["divisor"] = float(count) if mean else 1.0
    channels, height, width = graph.shapes[base]
    size = (channels, height - window[0] + 1, width - window[1] + 1)
    pooled = f"{node.output[0]}.pooled"
    name = graph.unique(node.name or node.output[0])
    graph.emit_as(MaxPool if mean is None else AvgPool, node, (base,), size, pooled, name, **fields)
    emit_view(graph, node, _of_batch(graph, pooled, pixels.reshape(shape)))


def _window(base: tuple[int, ...], rows: np.ndarray) -> tuple[Window, np.ndarray] | None:
    """The window that pools whole rows, columns or images of a tensor, and the flat place of each of `rows` then."""
    if len(base) != 3 or (rows < 0).any():
        return None
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
    return None


def _gathered(graph: Importer, node: onnx.NodeProto, rows: View) -> str:
    """An image of one channel per row of words, which lie one below the other: what channels reduce to, for one."""
    label = f"{node.output[0]}.gathered"
    put_view(graph, label, _of_batch(graph, rows.base, rows.index[:, :, None]))
    materialize(graph, node, label)
    return graph.names[label]


def _of_batch(graph: Importer, base: str, index: np.ndarray) -> View:
    """A view of every image from that of one."""
    size = math.prod(graph.shapes[base])
    images = [np.where(index < 0, -1, index + image * size) for image in range(graph.batch)]
    return View(base, np.stack(images).astype(np.int32))

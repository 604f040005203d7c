"""Importers of ONNX operators that compute element by element."""

from __future__ import annotations

import math

import numpy as np
import onnx

from ..graph import Combine, PixelAffine, Polynomial, Product, Shape
from .importer import Importer, Unsupported, attributes
from .views import View, materialize, put_view, view_of

#: Powers that are products of a tensor with itself.
LARGEST_POWER = 4


def per_channel(value: np.ndarray, shape: Shape, what: str) -> np.ndarray:
    """A constant that broadcasts over [N, *shape] as one number, or one per channel."""
    value = np.asarray(value, dtype=np.float64)
    rank = len(shape) + 1
    if value.ndim > rank:
        raise Unsupported(f"its {what} has the shape {list(value.shape)}, more axes than the tensor")
    value = value.reshape((1,) * (rank - value.ndim) + value.shape)
    for axis, size in enumerate(value.shape):
        if axis != 1 and size > 1:
            if np.ptp(value, axis=axis).any() or (axis > 1 and size != shape[axis - 1]) or axis == 0:
                raise Unsupported(f"its {what} {list(value.shape)} is not one number per channel")
            value = np.take(value, [0], axis=axis)
    if value.size not in (1, shape[0]):
        raise Unsupported(f"its {what} has {value.size} numbers for {shape[0]} channels")
    return value.reshape(-1)


def _per_pixel(value: np.ndarray, shape: Shape, what: str) -> np.ndarray | None:
    """A constant that differs between the pixels of an image, as [1 or C, H, W]; None where it does not."""
    value = np.asarray(value, dtype=np.float64)
    if len(shape) != 3 or value.ndim > 4 or value.ndim < 1 or np.ptp(value) == 0:
        return None
    value = value.reshape((1,) * (4 - value.ndim) + value.shape)
    if any(size not in (1, whole) for size, whole in zip(value.shape[1:], shape, strict=True)):
        return None
    if value.shape[0] > 1 and np.ptp(value, axis=0).any():
        raise Unsupported(f"its {what} {list(value.shape)} differs between the images of a batch")
    if not np.ptp(value[0], axis=(1, 2)).any():
        return None
    pixels = np.broadcast_to(value[0], (value.shape[1], *shape[1:]))
    return pixels[:1].copy() if not np.ptp(pixels, axis=0).any() else pixels.copy()


def _emit_pixels(
    graph: Importer, node: onnx.NodeProto, source: str, shape: Shape, scale: np.ndarray, addend: np.ndarray
) -> None:
    """y = scale * x + addend, public numbers per pixel, as the node's output."""
    scale, addend = (np.broadcast_to(v, np.broadcast_shapes(v.shape, (1, *shape[1:]))) for v in (scale, addend))
    graph.emit(PixelAffine, node, (source,), shape, scale=scale.copy(), addend=addend.copy())


def import_batch_norm(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node)
    given = attributes(node)
    if given.get("training_mode", 0):
        raise Unsupported("it is in training mode; export the model for inference")
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        _per_channel_vector(graph.parameter(node, index, name), shape, name)
        for index, name in enumerate(names, start=1)
    )
    if (variance < 0).any():
        raise Unsupported("its variance is negative")
    factor = scale / np.sqrt(variance + float(given.get("epsilon", 1e-5)))
    graph.emit(Combine, node, (graph.tensor(node),), shape, scales=(factor,), addend=bias - mean * factor)


def _per_channel_vector(value: np.ndarray, shape: Shape, what: str) -> np.ndarray:
    if value.shape != shape[:1]:
        raise Unsupported(f"its {what} has the shape {list(value.shape)} for {shape[0]} channels")
    return value.astype(np.float64)


def _weighted_sum(graph: Importer, node: onnx.NodeProto, weights: tuple[float, ...]) -> None:
    """Sum of tensors and constants, each times a number."""
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    node, shape = _broadcast(graph, node, tensors)
    addend, pixels = np.zeros(1), np.zeros((1, 1, 1))
    for index in range(len(node.input)):
        if index not in tensors:
            constant = graph.parameter(node, index, "addend")
            per_pixel = _per_pixel(constant, shape, "addend")
            if per_pixel is not None:
                pixels = pixels + weights[index] * per_pixel
            else:
                addend = addend + weights[index] * per_channel(constant, shape, "addend")
    inputs = tuple(graph.tensor(node, index) for index in tensors)
    scales = tuple(np.array([weights[index]]) for index in tensors)
    if not pixels.any():
        graph.emit(Combine, node, inputs, shape, scales=scales, addend=addend)
        return
    total = f"{node.output[0]}.sum"
    graph.emit_as(Combine, node, inputs, shape, total, graph.unique(total), scales=scales, addend=addend)
    _emit_pixels(graph, node, total, shape, np.ones((1, 1, 1)), pixels)


def _broadcast(graph: Importer, node: onnx.NodeProto, tensors: list[int]) -> tuple[onnx.NodeProto, Shape]:
    """The node with these inputs repeated to one shape, as a context per channel that is added to every pixel."""
    shapes = [graph.shape(node, index) for index in tensors]
    try:
        whole = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise Unsupported(f"its inputs have the shapes {[list(shape) for shape in shapes]}") from error
    if any(len(shape) != len(whole) for shape in shapes):
        raise Unsupported(f"its inputs have the shapes {[list(shape) for shape in shapes]}")
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    for index, shape in zip(tensors, shapes, strict=True):
        if shape != whole:
            moved.input[index] = f"{node.output[0]}.repeated{index}"
            view = view_of(graph, node.input[index])
            repeated = np.broadcast_to(view.index, (graph.batch, *whole))
            put_view(graph, moved.input[index], View(view.base, repeated))
            materialize(graph, node, moved.input[index])
    return moved, whole


def import_add(graph: Importer, node: onnx.NodeProto) -> None:
    _weighted_sum(graph, node, (1.0,) * len(node.input))


def import_mean(graph: Importer, node: onnx.NodeProto) -> None:
    _weighted_sum(graph, node, (1.0 / len(node.input),) * len(node.input))


def import_sub(graph: Importer, node: onnx.NodeProto) -> None:
    _weighted_sum(graph, node, (1.0, -1.0))


def import_neg(graph: Importer, node: onnx.NodeProto) -> None:
    _weighted_sum(graph, node, (-1.0,))


def _emit_product(graph: Importer, node: onnx.NodeProto) -> None:
    """The product of two tensors, the one that is broadcast second."""
    first, second = (0, 1) if math.prod(graph.shape(node, 0)) >= math.prod(graph.shape(node, 1)) else (1, 0)
    whole, factor = graph.shape(node, first), graph.shape(node, second)
    if len(factor) != len(whole) or any(size not in (1, full) for size, full in zip(factor, whole)):
        raise Unsupported(f"its inputs have the shapes {list(graph.shape(node, 0))} and {list(graph.shape(node, 1))}")
    graph.emit(Product, node, (graph.tensor(node, first), graph.tensor(node, second)), whole)


def import_mul(graph: Importer, node: onnx.NodeProto) -> None:
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if len(tensors) == 2:
        _emit_product(graph, node)
        return
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    shape = graph.shape(node, tensors[0])
    constant = graph.parameter(node, 1 - tensors[0], "factor")
    pixels = _per_pixel(constant, shape, "factor")
    if pixels is not None:
        _emit_pixels(graph, node, graph.tensor(node, tensors[0]), shape, pixels, np.zeros((1, 1, 1)))
        return
    factor = per_channel(constant, shape, "factor")
    graph.emit(Combine, node, (graph.tensor(node, tensors[0]),), shape, scales=(factor,))


def import_div(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node)
    constant = graph.parameter(node, 1, "divisor")
    if (constant == 0).any():
        raise Unsupported("its divisor is zero")
    pixels = _per_pixel(constant, shape, "divisor")
    if pixels is not None:
        _emit_pixels(graph, node, graph.tensor(node), shape, 1.0 / pixels, np.zeros((1, 1, 1)))
        return
    divisor = per_channel(constant, shape, "divisor")
    graph.emit(Combine, node, (graph.tensor(node),), shape, scales=(1.0 / divisor,))


def import_pow(graph: Importer, node: onnx.NodeProto) -> None:
    exponent = graph.constant(node, 1, "exponent")
    if exponent.size != 1 or float(exponent.reshape(-1)[0]) not in range(1, LARGEST_POWER + 1):
        shown = exponent.reshape(-1)[:3].tolist()
        raise Unsupported(f"exponent {shown} is not supported: only whole numbers up to {LARGEST_POWER}")
    source, power = graph.tensor(node), int(exponent.reshape(-1)[0])
    if power == 1:
        graph.alias(node)
        return
    first = source
    if power > 2:
        first, name = f"{node.output[0]}.square", graph.unique(f"{node.name or node.output[0]}.square")
        graph.emit_as(Product, node, (source, source), graph.shape(node), first, name)
    graph.emit(Product, node, (first, source if power == 3 else first), graph.shape(node))


def import_x2act(graph: Importer, node: onnx.NodeProto) -> None:
    """X2act(x, k, w2, b) = k x² + w2 x + b (Eq. 4)."""
    shape = graph.shape(node)
    square, linear, addend = (
        per_channel(graph.parameter(node, index, what), shape, what)
        for index, what in ((1, "coefficient k"), (2, "coefficient w2"), (3, "coefficient b"))
    )
    graph.emit(Polynomial, node, (graph.tensor(node),), shape, square=square, linear=linear, addend=addend)

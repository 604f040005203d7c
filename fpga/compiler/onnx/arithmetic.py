"""Importers of ONNX operators that compute element by element or feature by feature."""

from __future__ import annotations

import math

import numpy as np
import onnx

from ..graph import Combine, Conv, Linear, PixelAffine, Polynomial, Product, Shape
from .importer import Importer, Unsupported, attributes
from .views import View, flattened, is_channels_last, materialize, one_image, put_view, view_of


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


def import_gemm(graph: Importer, node: onnx.NodeProto) -> None:
    given = attributes(node)
    weight = graph.parameter(node, 1, "weight").astype(np.float64) * float(given.get("alpha", 1.0))
    weight = weight if given.get("transB", 0) else weight.T
    if given.get("transA", 0):
        raise Unsupported("transA would mix the images of a batch")
    bias = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        bias = graph.parameter(node, 2, "bias").astype(np.float64) * float(given.get("beta", 1.0))
    _emit_linear(graph, node, weight, bias)


def import_matmul(graph: Importer, node: onnx.NodeProto) -> None:
    weight = graph.parameter(node, 1, "right factor").astype(np.float64).T
    view = view_of(graph, graph.operand(node, 0))
    if view.index.ndim == 4 and weight.ndim == 2 and is_channels_last(graph, view):
        _emit_pointwise(graph, node, view, weight)
    else:
        _emit_linear(graph, node, weight, np.zeros(1))


def _emit_pointwise(graph: Importer, node: onnx.NodeProto, view: View, weight: np.ndarray) -> None:
    """A linear layer of every pixel, whose channels lie last: a pointwise convolution, whose result lies likewise."""
    channels, *size = graph.shapes[view.base]
    if weight.shape[1] != channels:
        raise Unsupported(f"its weight [out, in] is {list(weight.shape)} for pixels of {channels} channels")
    inner, outputs = f"{node.output[0]}.inner", weight.shape[0]
    name = graph.unique(node.name or node.output[0])
    fields = {"weight": np.ascontiguousarray(weight)[:, :, None, None], "bias": np.zeros(outputs)}
    graph.emit_as(Conv, node, (view.base,), (outputs, *size), inner, name, **fields)
    put_view(graph, node.output[0], View(inner, view_of(graph, inner).index.transpose(0, 2, 3, 1)))


def _emit_linear(graph: Importer, node: onnx.NodeProto, weight: np.ndarray, bias: np.ndarray) -> None:
    """A product with the features where they lie: flattened in another order, the weights are permuted instead."""
    name = graph.operand(node, 0)
    view = graph.views.get(name) if name not in graph.names else None
    if view is not None and view.index.ndim == 2 and weight.ndim == 2:
        source, weight = _on_base(graph, node, name, view, weight)
    else:
        materialize(graph, node, name)
        source = graph.tensor(node)
    shape = graph.shapes[source]
    if len(shape) != 1:
        raise Unsupported(f"its input has the shape [N, {', '.join(map(str, shape))}], expected 2 axes")
    if weight.ndim != 2 or weight.shape[1] != shape[0]:
        raise Unsupported(f"its weight [out, in] is {list(weight.shape)} for an input of {shape[0]} features")
    spread = np.broadcast_to(per_channel(bias, weight.shape[:1], "bias"), weight.shape[:1]).copy()
    graph.emit(Linear, node, (source,), (weight.shape[0],), weight=np.ascontiguousarray(weight), bias=spread)


def _on_base(
    graph: Importer, node: onnx.NodeProto, name: str, view: View, weight: np.ndarray
) -> tuple[str, np.ndarray]:
    """The whole tensor behind a view and the weights permuted for it; where a view has few of its words, these."""
    index, size = one_image(graph, view), math.prod(graph.shapes[view.base])
    if weight.shape[1] != index.size or 2 * np.unique(index).size < size:
        materialize(graph, node, name)
        return graph.names[name], weight
    spread = np.zeros((size, weight.shape[0]))
    np.add.at(spread, index[index >= 0], weight.T[index >= 0])
    return flattened(graph, node, view.base), np.ascontiguousarray(spread.T)


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


def _signed_sum(graph: Importer, node: onnx.NodeProto, signs: tuple[float, ...]) -> None:
    """Sum of tensors and constants with signs."""
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    shape = graph.shape(node, tensors[0])
    for index in tensors:
        if graph.shape(node, index) != shape:
            raise Unsupported(f"its inputs have the shapes {list(shape)} and {list(graph.shape(node, index))}")
    addend, pixels = np.zeros(1), np.zeros((1, 1, 1))
    for index in range(len(node.input)):
        if index not in tensors:
            constant = graph.parameter(node, index, "addend")
            per_pixel = _per_pixel(constant, shape, "addend")
            if per_pixel is not None:
                pixels = pixels + signs[index] * per_pixel
            else:
                addend = addend + signs[index] * per_channel(constant, shape, "addend")
    inputs = tuple(graph.tensor(node, index) for index in tensors)
    scales = tuple(np.array([signs[index]]) for index in tensors)
    if not pixels.any():
        graph.emit(Combine, node, inputs, shape, scales=scales, addend=addend)
        return
    total = f"{node.output[0]}.sum"
    graph.emit_as(Combine, node, inputs, shape, total, graph.unique(total), scales=scales, addend=addend)
    _emit_pixels(graph, node, total, shape, np.ones((1, 1, 1)), pixels)


def import_add(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (1.0,) * len(node.input))


def import_sub(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (1.0, -1.0))


def import_neg(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (-1.0,))


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
    if exponent.size != 1 or float(exponent.reshape(-1)[0]) not in (1.0, 2.0):
        raise Unsupported(f"exponent {exponent.reshape(-1)[:3].tolist()} is not supported: only 2 (and 1)")
    if float(exponent.reshape(-1)[0]) == 1.0:
        graph.alias(node)
    else:
        graph.emit(Product, node, (graph.tensor(node), graph.tensor(node)), graph.shape(node))


def import_x2act(graph: Importer, node: onnx.NodeProto) -> None:
    """X2act(x, k, w2, b) = k x² + w2 x + b (Eq. 4)."""
    shape = graph.shape(node)
    square, linear, addend = (
        per_channel(graph.parameter(node, index, what), shape, what)
        for index, what in ((1, "coefficient k"), (2, "coefficient w2"), (3, "coefficient b"))
    )
    graph.emit(Polynomial, node, (graph.tensor(node),), shape, square=square, linear=linear, addend=addend)

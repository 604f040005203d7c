"""Importers of ONNX operators that compute element by element or feature by feature."""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Combine, Linear, Polynomial, Product, Relu, Shape
from .importer import Importer, Unsupported, attributes


def _per_channel(value: np.ndarray, shape: Shape, what: str) -> np.ndarray:
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


def import_gemm(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=1)
    given = attributes(node)
    weight = graph.parameter(node, 1, "weight").astype(np.float64) * float(given.get("alpha", 1.0))
    weight = weight if given.get("transB", 0) else weight.T
    if given.get("transA", 0):
        raise Unsupported("transA would mix the images of a batch")
    bias = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        bias = graph.parameter(node, 2, "bias").astype(np.float64) * float(given.get("beta", 1.0))
    _emit_linear(graph, node, weight, bias, shape)


def import_matmul(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=1)
    _emit_linear(graph, node, graph.parameter(node, 1, "right factor").astype(np.float64).T, np.zeros(1), shape)


def _emit_linear(graph: Importer, node: onnx.NodeProto, weight: np.ndarray, bias: np.ndarray, shape: Shape) -> None:
    if weight.ndim != 2 or weight.shape[1] != shape[0]:
        raise Unsupported(f"its weight [out, in] is {list(weight.shape)} for an input of {shape[0]} features")
    spread = np.broadcast_to(_per_channel(bias, weight.shape[:1], "bias"), weight.shape[:1]).copy()
    graph.emit(
        Linear, node, (graph.tensor(node),), (weight.shape[0],), weight=np.ascontiguousarray(weight), bias=spread
    )


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


def import_relu(graph: Importer, node: onnx.NodeProto) -> None:
    graph.emit(Relu, node, (graph.tensor(node),), graph.shape(node))


def import_clip(graph: Importer, node: onnx.NodeProto) -> None:
    low, high = (graph.optional_constant(node, index, what) for index, what in ((1, "minimum"), (2, "maximum")))
    if any(bound is not None and bound.size != 1 for bound in (low, high)):
        raise Unsupported("a bound is not one number")
    floor = -np.inf if low is None else float(low.reshape(-1)[0])
    ceiling = np.inf if high is None else float(high.reshape(-1)[0])
    if floor != 0 or ceiling <= 0:
        raise Unsupported(f"bounds {floor:g} and {ceiling:g} are not supported: only 0 and a positive maximum (ReLU6)")
    unbounded = ceiling >= np.finfo(np.float32).max
    graph.emit(Relu, node, (graph.tensor(node),), graph.shape(node), ceiling=None if unbounded else ceiling)


def _signed_sum(graph: Importer, node: onnx.NodeProto, signs: tuple[float, ...]) -> None:
    """Sum of tensors and constants with signs."""
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    shape = graph.shape(node, tensors[0])
    for index in tensors:
        if graph.shape(node, index) != shape:
            raise Unsupported(f"its inputs have the shapes {list(shape)} and {list(graph.shape(node, index))}")
    addend = np.zeros(1)
    for index in range(len(node.input)):
        if index not in tensors:
            addend = addend + signs[index] * _per_channel(graph.parameter(node, index, "addend"), shape, "addend")
    graph.emit(
        Combine,
        node,
        tuple(graph.tensor(node, index) for index in tensors),
        shape,
        scales=tuple(np.array([signs[index]]) for index in tensors),
        addend=addend,
    )


def import_add(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (1.0,) * len(node.input))


def import_sub(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (1.0, -1.0))


def import_neg(graph: Importer, node: onnx.NodeProto) -> None:
    _signed_sum(graph, node, (-1.0,))


def import_mul(graph: Importer, node: onnx.NodeProto) -> None:
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if len(tensors) == 2:
        if graph.shape(node, 0) != graph.shape(node, 1):
            raise Unsupported(
                f"its inputs have the shapes {list(graph.shape(node, 0))} and {list(graph.shape(node, 1))}"
            )
        graph.emit(Product, node, (graph.tensor(node, 0), graph.tensor(node, 1)), graph.shape(node, 0))
        return
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    shape = graph.shape(node, tensors[0])
    factor = _per_channel(graph.parameter(node, 1 - tensors[0], "factor"), shape, "factor")
    graph.emit(Combine, node, (graph.tensor(node, tensors[0]),), shape, scales=(factor,))


def import_div(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node)
    divisor = _per_channel(graph.parameter(node, 1, "divisor"), shape, "divisor")
    if (divisor == 0).any():
        raise Unsupported("its divisor is zero")
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
        _per_channel(graph.parameter(node, index, what), shape, what)
        for index, what in ((1, "coefficient k"), (2, "coefficient w2"), (3, "coefficient b"))
    )
    graph.emit(Polynomial, node, (graph.tensor(node),), shape, square=square, linear=linear, addend=addend)

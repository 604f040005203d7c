"""One importer per ONNX operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnx

from ..operators import output_size
from .graph import AvgPool, Combine, Concat, Conv, Linear, MaxPool, Pad, Polynomial, Product, Relu, Reshape, Shape
from .importer import Importer, Unsupported, attributes, integers

OperatorImporter: TypeAlias = Callable[[Importer, onnx.NodeProto], None]
Padding: TypeAlias = tuple[int, int, int, int]


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


def _window(
    node: onnx.NodeProto, given: dict[str, Any], shape: Shape, kernel: tuple[int, ...]
) -> tuple[tuple[int, int], Padding, tuple[int, int]]:
    """Stride, padding (top, left, bottom, right) and output size of a sliding window."""
    if len(kernel) != 2 or min(kernel) < 1:
        raise Unsupported(f"its kernel is {list(kernel)}, expected two numbers of at least 1")
    stride = integers(given, "strides", (1, 1))
    if min(stride) < 1:
        raise Unsupported(f"its stride is {list(stride)}")
    if any(step != 1 for step in integers(given, "dilations", (1, 1))):
        raise Unsupported(f"dilations {list(given['dilations'])} are not supported")
    padding = _padding(given, shape[1:], kernel, stride)
    if min(padding) < 0:
        raise Unsupported(f"its padding is {list(padding)}")
    if given.get("ceil_mode"):
        padding = _ceil_padding(shape[1:], kernel, stride, padding)
    size = (
        output_size(shape[1], kernel[0], stride[0], padding[0], padding[2]),
        output_size(shape[2], kernel[1], stride[1], padding[1], padding[3]),
    )
    if min(size) < 1:
        raise Unsupported(f"its kernel {list(kernel)} is larger than its padded input {list(shape[1:])}")
    return (stride[0], stride[1]), padding, size


def _padding(given: dict[str, Any], size: Shape, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Padding:
    mode = given.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        top, left, bottom, right = integers(given, "pads", (0, 0, 0, 0))
        return top, left, bottom, right
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {mode!r} is unknown")
    pads = []
    for axis in range(2):
        total = max((-(-size[axis] // stride[axis]) - 1) * stride[axis] + kernel[axis] - size[axis], 0)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return pads[0][0], pads[1][0], pads[0][1], pads[1][1]


def _ceil_padding(size: Shape, kernel: tuple[int, ...], stride: tuple[int, ...], padding: Padding) -> Padding:
    """More padding at the end, so that the last, partial window counts (it must begin inside the image)."""
    ends = []
    for axis in range(2):
        before, after = padding[axis], padding[axis + 2]
        span = size[axis] + before + after - kernel[axis]
        outputs = -(-span // stride[axis]) + 1
        if (outputs - 1) * stride[axis] >= size[axis] + before:
            outputs -= 1
        ends.append(max(after, (outputs - 1) * stride[axis] + kernel[axis] - size[axis] - before))
    return padding[0], padding[1], ends[0], ends[1]


def import_conv(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    weight = graph.parameter(node, 1, "weight")
    bias = graph.parameter(node, 2, "bias") if len(node.input) > 2 and node.input[2] else np.zeros(1)
    given = attributes(node)
    groups = int(given.get("group", 1))
    if weight.ndim != 4:
        raise Unsupported(f"its weight has {weight.ndim} axes, expected [out, in, height, width]")
    if groups < 1 or shape[0] % groups or weight.shape[0] % groups or weight.shape[1] * groups != shape[0]:
        raise Unsupported(
            f"{groups} groups of the weight {list(weight.shape)} do not fit an input of {shape[0]} channels"
        )
    if "kernel_shape" in given and tuple(given["kernel_shape"]) != weight.shape[2:]:
        raise Unsupported(f"kernel_shape {list(given['kernel_shape'])} is not that of its weight {list(weight.shape)}")
    if bias.size not in (1, weight.shape[0]):
        raise Unsupported(f"its bias has {bias.size} numbers for {weight.shape[0]} channels")
    stride, padding, size = _window(node, given, shape, weight.shape[2:])
    graph.emit(
        Conv,
        node,
        (graph.tensor(node),),
        (weight.shape[0], *size),
        weight=weight.astype(np.float64),
        bias=np.broadcast_to(bias.astype(np.float64).reshape(-1), weight.shape[:1]).copy(),
        stride=stride,
        padding=padding,
        groups=groups,
    )


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


def import_max_pool(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    given = attributes(node)
    kernel = tuple(int(item) for item in given.get("kernel_shape", ()))
    stride, padding, size = _window(node, given, shape, kernel)
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise Unsupported(f"its padding {list(padding)} leaves windows without a pixel")
    graph.emit(MaxPool, node, (graph.tensor(node),), (shape[0], *size), kernel=kernel, stride=stride, padding=padding)


def import_average_pool(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    given = attributes(node)
    kernel = tuple(int(item) for item in given.get("kernel_shape", ()))
    stride, padding, size = _window(node, given, shape, kernel)
    if given.get("ceil_mode") and padding != _padding(given, shape[1:], kernel, stride):
        raise Unsupported("with ceil_mode, its last windows have another divisor")
    if any(padding) and not given.get("count_include_pad", 0):
        raise Unsupported("with padding that does not count (count_include_pad = 0), windows have different divisors")
    graph.emit(
        AvgPool,
        node,
        (graph.tensor(node),),
        (shape[0], *size),
        kernel=kernel,
        stride=stride,
        padding=padding,
        divisor=float(kernel[0] * kernel[1]),
    )


def import_global_average_pool(graph: Importer, node: onnx.NodeProto) -> None:
    _global_average(graph, node, keep_axes=True)


def import_global_max_pool(graph: Importer, node: onnx.NodeProto) -> None:
    channels, height, width = graph.shape(node, axes=3)
    graph.emit(MaxPool, node, (graph.tensor(node),), (channels, 1, 1), kernel=(height, width), stride=(1, 1))


def import_reduce_mean(graph: Importer, node: onnx.NodeProto) -> None:
    given = attributes(node)
    given_axes = given.get("axes")
    if given_axes is None:
        listed = graph.optional_constant(node, 1, "axes")
        given_axes = [] if listed is None else listed.reshape(-1).tolist()
    axes = {int(axis) % 4 for axis in given_axes}
    if len(graph.shape(node)) != 3 or axes != {2, 3}:
        raise Unsupported(f"axes {list(given_axes)} are not supported: only both spatial axes of [N, C, H, W]")
    _global_average(graph, node, keep_axes=bool(given.get("keepdims", 1)))


def _global_average(graph: Importer, node: onnx.NodeProto, keep_axes: bool) -> None:
    channels, height, width = graph.shape(node, axes=3)
    name = graph.unique(node.name or node.output[0])
    pooled = node.output[0] if keep_axes else f"{node.output[0]}.pooled"
    graph.emit_as(
        AvgPool,
        node,
        (graph.tensor(node),),
        (channels, 1, 1),
        pooled,
        name,
        kernel=(height, width),
        stride=(1, 1),
        divisor=float(height * width),
    )
    if not keep_axes:
        graph.emit_as(Reshape, node, (pooled,), (channels,), node.output[0], graph.unique(f"{name}.flatten"))


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


IMPORTERS: dict[tuple[str, str], OperatorImporter] = {
    ("", "Add"): import_add,
    ("", "AveragePool"): import_average_pool,
    ("", "BatchNormalization"): import_batch_norm,
    ("", "Cast"): import_cast,
    ("", "Clip"): import_clip,
    ("", "Concat"): import_concat,
    ("", "Conv"): import_conv,
    ("", "Div"): import_div,
    ("", "Dropout"): import_dropout,
    ("", "Flatten"): import_flatten,
    ("", "Gemm"): import_gemm,
    ("", "GlobalAveragePool"): import_global_average_pool,
    ("", "GlobalMaxPool"): import_global_max_pool,
    ("", "Identity"): import_identity,
    ("", "MatMul"): import_matmul,
    ("", "MaxPool"): import_max_pool,
    ("", "Mul"): import_mul,
    ("", "Neg"): import_neg,
    ("", "Pad"): import_pad,
    ("", "Pow"): import_pow,
    ("", "ReduceMean"): import_reduce_mean,
    ("", "Relu"): import_relu,
    ("", "Reshape"): import_reshape,
    ("", "Squeeze"): import_squeeze,
    ("", "Sub"): import_sub,
    ("", "Sum"): import_add,
    ("rrnet", "X2act"): import_x2act,
}

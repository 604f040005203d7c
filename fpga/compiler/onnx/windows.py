"""Importers of ONNX operators with sliding windows: convolutions and poolings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper

from ...ring.geometry import output_size
from ..graph import AvgPool, Conv, MaxPool, PixelAffine, Reshape, Shape
from .importer import Importer, Unsupported, attributes, integers
from .views import View, materialize, put_view, view_of

Padding: TypeAlias = tuple[int, int, int, int]
#: A dilated kernel is multiplied with its zeros, a kernel larger than the image with padding; beyond this it would be
#: mostly those.
LARGEST_KERNEL = 64


def _window(
    node: onnx.NodeProto, given: dict[str, Any], shape: Shape, kernel: tuple[int, ...]
) -> tuple[tuple[int, int], Padding, tuple[int, int]]:
    """Stride, padding (top, left, bottom, right) and output size of a sliding window, whose taps lie side by side."""
    if len(kernel) != 2 or min(kernel) < 1:
        raise Unsupported(f"its kernel is {list(kernel)}, expected two numbers of at least 1")
    if any(side > max(LARGEST_KERNEL, size) for side, size in zip(kernel, shape[1:], strict=True)):
        raise Unsupported(f"its kernel {list(kernel)} is larger than its input {list(shape[1:])}")
    stride = integers(given, "strides", (1, 1))
    if min(stride) < 1:
        raise Unsupported(f"its stride is {list(stride)}")
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


def _dilations(given: dict[str, Any]) -> tuple[int, int]:
    down, right = integers(given, "dilations", (1, 1))
    if min(down, right) < 1:
        raise Unsupported(f"its dilations are {[down, right]}")
    return down, right


def _spread(weight: np.ndarray, dilations: tuple[int, int]) -> np.ndarray:
    """A dilated kernel [..., kh, kw] as one whose taps lie side by side, with zeros between the old ones."""
    if dilations == (1, 1):
        return weight
    (height, width), (down, right) = weight.shape[-2:], dilations
    if max((height - 1) * down, (width - 1) * right) >= LARGEST_KERNEL:
        raise Unsupported(f"dilations {list(dilations)} spread its kernel over more than {LARGEST_KERNEL} pixels")
    spread = np.zeros((*weight.shape[:-2], (height - 1) * down + 1, (width - 1) * right + 1), weight.dtype)
    spread[..., ::down, ::right] = weight
    return spread


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
    weight = graph.parameter(node, 1, "weight")
    if weight.ndim == 3:
        _import_conv_of_rows(graph, node, weight)
        return
    materialize(graph, node, graph.operand(node, 0))
    shape = graph.shape(node, axes=3)
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
    weight = _spread(weight, _dilations(given))
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


def _import_conv_of_rows(graph: Importer, node: onnx.NodeProto, weight: np.ndarray) -> None:
    """A convolution along the last axis of [N, C, length]: of images that are one pixel high."""
    view = view_of(graph, graph.operand(node, 0))
    if view.index.ndim != 3:
        raise Unsupported(f"its weight has 3 axes, and its input {view.index.ndim}")
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    moved.input[0], moved.input[1], moved.output[0] = (
        f"{node.output[0]}.{label}" for label in ("row", "weight", "inner")
    )
    del moved.attribute[:]
    given = attributes(node)
    for name, one in (("kernel_shape", 1), ("strides", 1), ("dilations", 1)):
        if name in given:
            moved.attribute.append(helper.make_attribute(name, [one, *integers(given, name, (1,))]))
    if "pads" in given:
        before, after = integers(given, "pads", (0, 0))
        moved.attribute.append(helper.make_attribute("pads", [0, before, 0, after]))
    moved.attribute.extend(each for each in node.attribute if each.name in ("group", "auto_pad"))
    put_view(graph, moved.input[0], View(view.base, view.index[:, :, None]))
    graph.constants[moved.input[1]] = weight[:, :, None]
    import_conv(graph, moved)
    made = view_of(graph, moved.output[0])
    put_view(graph, node.output[0], View(made.base, made.index[:, :, 0]))


def import_max_pool(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    given = attributes(node)
    kernel = tuple(int(item) for item in given.get("kernel_shape", ()))
    if _dilations(given) != (1, 1):
        raise Unsupported(f"dilations {list(given['dilations'])} of a maximum are not supported")
    stride, padding, size = _window(node, given, shape, kernel)
    if padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise Unsupported(f"its padding {list(padding)} leaves windows without a pixel")
    graph.emit(MaxPool, node, (graph.tensor(node),), (shape[0], *size), kernel=kernel, stride=stride, padding=padding)


def import_average_pool(graph: Importer, node: onnx.NodeProto) -> None:
    shape = graph.shape(node, axes=3)
    given = attributes(node)
    kernel = tuple(int(item) for item in given.get("kernel_shape", ()))
    dilations = _dilations(given)
    if dilations != (1, 1):
        _import_dilated_mean(graph, node, given, kernel, dilations)
        return
    stride, padding, size = _window(node, given, shape, kernel)
    geometry: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    counted = (0, 0, 0, 0) if not given.get("count_include_pad", 0) else _padding(given, shape[1:], kernel, stride)
    pixels = _pixels_of_windows(shape[1:], kernel, stride, padding, size, counted)
    if pixels.min() < 1:
        raise Unsupported(f"its padding {list(padding)} leaves windows without a pixel")
    if np.ptp(pixels) == 0:
        graph.emit(AvgPool, node, (graph.tensor(node),), (shape[0], *size), divisor=float(pixels.flat[0]), **geometry)
        return
    name, summed = graph.unique(node.name or node.output[0]), f"{node.output[0]}.sum"
    graph.emit_as(AvgPool, node, (graph.tensor(node),), (shape[0], *size), summed, name, divisor=1.0, **geometry)
    scale, addend = 1.0 / pixels[None], np.zeros((1, *size))
    graph.emit_as(
        PixelAffine,
        node,
        (summed,),
        (shape[0], *size),
        node.output[0],
        graph.unique(f"{name}.mean"),
        scale=scale,
        addend=addend,
    )


def _pixels_of_windows(
    size: Shape,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: Padding,
    outputs: tuple[int, int],
    counted: Padding,
) -> np.ndarray:
    """[out height, out width]: how many pixels count in each window: the image's and the `counted` padding's."""
    along = []
    for axis in range(2):
        first = np.arange(outputs[axis]) * stride[axis] - padding[axis]
        low, high = -counted[axis], size[axis] + counted[axis + 2]
        along.append(np.minimum(first + kernel[axis], high) - np.maximum(first, low))
    return np.outer(*along)


def _import_dilated_mean(
    graph: Importer, node: onnx.NodeProto, given: dict[str, Any], kernel: tuple[int, ...], dilations: tuple[int, int]
) -> None:
    """The taps of a dilated mean are those of a depthwise convolution."""
    shape = graph.shape(node, axes=3)
    if len(kernel) != 2 or not 1 <= min(kernel) <= max(kernel) <= LARGEST_KERNEL:
        raise Unsupported(f"its kernel is {list(kernel)}, expected two numbers from 1 to {LARGEST_KERNEL}")
    weight = _spread(np.full((shape[0], 1, *kernel), 1 / (kernel[0] * kernel[1])), dilations)
    stride, padding, size = _window(node, given, shape, weight.shape[2:])
    if any(padding) and not (given.get("count_include_pad", 0) and not given.get("ceil_mode")):
        raise Unsupported("with padding and dilations, windows have different divisors")
    bias = np.zeros(shape[0])
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "groups": shape[0]}
    graph.emit(Conv, node, (graph.tensor(node),), (shape[0], *size), weight=weight, bias=bias, **geometry)


def import_global_average_pool(graph: Importer, node: onnx.NodeProto) -> None:
    global_average(graph, node, keep_axes=True)


def import_global_max_pool(graph: Importer, node: onnx.NodeProto) -> None:
    channels, height, width = graph.shape(node, axes=3)
    graph.emit(MaxPool, node, (graph.tensor(node),), (channels, 1, 1), kernel=(height, width), stride=(1, 1))


def global_average(graph: Importer, node: onnx.NodeProto, keep_axes: bool) -> None:
    """The mean of each channel of the first input; flattened without `keep_axes`."""
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
        graph.flattened[node.output[0]] = pooled

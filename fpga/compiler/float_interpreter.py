"""The graph in floating point: calibration reads its ranges, tests compare it with other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..program.patches import patch_index
from ..program.picks import pick
from .graph import (
    AnyNode,
    AvgPool,
    Combine,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Pad,
    PatchRelu,
    Pick,
    Piecewise,
    PixelAffine,
    Polynomial,
    Product,
    Relu,
    Reshape,
)
from .piecewise_tables import PIECEWISE

#: Bytes that one unrolled convolution may take; larger batches are cut.
UNROLLED_BYTES = 2**26


def run_float(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Logits of a batch, float32 [N, *output shape]."""
    logits = None
    for name, value in walk_float(graph, images):
        if name == graph.output:
            logits = value
    assert logits is not None
    return logits


def walk_float(graph: Graph, images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor (name, float32 [N, *shape]) in order; each is forgotten after its last use."""
    values = {graph.input: np.ascontiguousarray(images, dtype=np.float32)}
    yield graph.input, values[graph.input]
    remaining = graph.uses()
    for node in graph.nodes:
        with np.errstate(over="ignore", invalid="ignore"):
            value = evaluate_node(node, [values[name] for name in node.inputs])
        values[node.output] = value
        yield node.output, value
        for name in node.inputs:
            remaining[name] -= 1
            if remaining[name] == 0:
                values.pop(name, None)


def evaluate_node(node: AnyNode, inputs: list[np.ndarray]) -> np.ndarray:
    """One node on float32 [N, *shape] arrays."""
    return _EVALUATE[type(node)](node, inputs)


def _spread(value: np.ndarray, rank: int) -> np.ndarray:
    return value.astype(np.float32).reshape(-1, *(1,) * (rank - 2))


def _conv(node: Conv, inputs: list[np.ndarray]) -> np.ndarray:
    top, left, bottom, right = node.padding
    padded = inputs[0]
    if any(node.padding):
        padded = np.pad(padded, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernel = node.weight.shape[2:]
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    view = view[:, :, :: node.stride[0], :: node.stride[1]]
    weight = node.weight.astype(np.float32)
    images, _, height, width = view.shape[:4]
    result = np.empty((images, weight.shape[0], height, width), dtype=np.float32)
    chunk = max(1, UNROLLED_BYTES // (4 * max(1, view[0].size)))
    for start in range(0, images, chunk):
        _conv_chunk(view[start : start + chunk], weight, node.groups, result[start : start + chunk])
    result += _spread(node.bias, 4)
    return result


def _conv_chunk(view: np.ndarray, weight: np.ndarray, groups: int, result: np.ndarray) -> None:
    """view [n, C, H, W, kh, kw], weight [O, C / groups, kh, kw] -> result [n, O, H, W]."""
    images, channels, height, width = view.shape[:4]
    if weight.shape[1] == 1 and groups == channels and weight.shape[0] == channels:
        np.einsum("nchwij,cij->nchw", view, weight[:, 0], out=result)
        return
    per_group, out_per_group = channels // groups, weight.shape[0] // groups
    for group in range(groups):
        taken = view[:, group * per_group : (group + 1) * per_group]
        columns = taken.transpose(0, 1, 4, 5, 2, 3).reshape(images, -1, height * width)
        outputs = slice(group * out_per_group, (group + 1) * out_per_group)
        product = weight[outputs].reshape(out_per_group, -1) @ columns
        result[:, outputs] = product.reshape(images, out_per_group, height, width)


def _linear(node: Linear, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0] @ node.weight.astype(np.float32).T + node.bias.astype(np.float32)


def _combine(node: Combine, inputs: list[np.ndarray]) -> np.ndarray:
    rank = inputs[0].ndim
    total = np.broadcast_to(_spread(node.addend, rank), inputs[0].shape).copy()
    for value, scale in zip(inputs, node.scales, strict=True):
        total += value * _spread(scale, rank)
    return total


def _product(node: Product, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0] * inputs[1]


def _polynomial(node: Polynomial, inputs: list[np.ndarray]) -> np.ndarray:
    square, linear, addend = (_spread(value, inputs[0].ndim) for value in (node.square, node.linear, node.addend))
    return (square * inputs[0] + linear) * inputs[0] + addend


def _piecewise(node: Piecewise, inputs: list[np.ndarray]) -> np.ndarray:
    """What is approximated, so that the error budget knows the approximation's error too."""
    return PIECEWISE[node.function].exact(inputs[0].astype(np.float64)).astype(np.float32)


def _patch_relu(node: PatchRelu, inputs: list[np.ndarray]) -> np.ndarray:
    value = inputs[0]
    shape = value.shape[1:]
    index, flat = patch_index(shape, node.patch), value.reshape(len(value), -1)
    sums = np.stack([np.bincount(index, image) for image in flat])
    return np.where(sums[:, index] > 0, flat, 0.0).reshape(value.shape)


def _relu(node: Relu, inputs: list[np.ndarray]) -> np.ndarray:
    return np.clip(inputs[0], 0, node.ceiling)


def pool_windows(node: MaxPool | AvgPool, value: np.ndarray, outside: float) -> list[np.ndarray]:
    """One strided view per position in the window."""
    top, left, bottom, right = node.padding
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    (high, wide), (down, across) = node.kernel, node.stride
    rows, columns = (padded.shape[2] - high) // down + 1, (padded.shape[3] - wide) // across + 1
    return [
        padded[:, :, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * across + 1 : across]
        for i in range(high)
        for j in range(wide)
    ]


def _max_pool(node: MaxPool, inputs: list[np.ndarray]) -> np.ndarray:
    windows = pool_windows(node, inputs[0], -np.inf)
    result = windows[0].copy()
    for window in windows[1:]:
        np.maximum(result, window, out=result)
    return result


def _avg_pool(node: AvgPool, inputs: list[np.ndarray]) -> np.ndarray:
    windows = pool_windows(node, inputs[0], 0.0)
    result = windows[0].copy()
    for window in windows[1:]:
        result += window
    return result / np.float32(node.divisor)


def _reshape(node: Reshape, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(inputs[0].shape[0], -1)


def _concat(node: Concat, inputs: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(inputs, axis=1)


def _pad(node: Pad, inputs: list[np.ndarray]) -> np.ndarray:
    top, left, bottom, right = node.padding
    return np.pad(inputs[0], ((0, 0), (0, 0), (top, bottom), (left, right)))


def _pick(node: Pick, inputs: list[np.ndarray]) -> np.ndarray:
    return pick(inputs[0], node.offsets)


def _pixel_affine(node: PixelAffine, inputs: list[np.ndarray]) -> np.ndarray:
    return inputs[0] * node.scale.astype(np.float32) + node.addend.astype(np.float32)


_EVALUATE: Mapping[type, Callable[..., np.ndarray]] = {
    Conv: _conv,
    Linear: _linear,
    Combine: _combine,
    Product: _product,
    Polynomial: _polynomial,
    Piecewise: _piecewise,
    Relu: _relu,
    PatchRelu: _patch_relu,
    MaxPool: _max_pool,
    AvgPool: _avg_pool,
    Reshape: _reshape,
    Concat: _concat,
    Pad: _pad,
    Pick: _pick,
    PixelAffine: _pixel_affine,
}

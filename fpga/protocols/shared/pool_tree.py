"""The MaxPool tree: which values meet in which level.

Padding is left out of the windows, so that border windows are smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...program import MaxPoolOp, Program
from ...program.operators import MaxPool, Relu, Select


@dataclass(frozen=True)
class PoolLevel:
    """One level: at `places`, the values of slots 2p and 2p + 1 meet; at `odd` the last value passes through.

    `places` and `odd` are (window, slot) index pairs of the result.
    """

    places: tuple[np.ndarray, ...]
    odd: tuple[np.ndarray, ...]
    slots: int


@dataclass(frozen=True)
class PoolTree:
    """`taps` [windows, slots]: pixel indices of each window, those inside the image first."""

    taps: np.ndarray
    levels: tuple[PoolLevel, ...]


def pool_tree(shape: MaxPool) -> PoolTree:
    """The tree for one image; the same for every channel."""
    rows = _taps(shape.height, shape.kernel[0], shape.stride[0], shape.padding[0], shape.out_height)
    columns = _taps(shape.width, shape.kernel[1], shape.stride[1], shape.padding[1], shape.out_width)
    windows = [[y * shape.width + x for y in row for x in column] for row in rows for column in columns]
    counts = np.array([len(window) for window in windows])
    taps = np.zeros((len(windows), counts.max()), np.int64)
    for window, pixels in zip(taps, windows):
        window[: len(pixels)] = pixels
    levels = []
    while counts.max() > 1:
        slots = int(counts.max() + 1) // 2
        slot = np.arange(slots)
        meets = slot < (counts // 2)[:, None]
        passes = (slot == (counts // 2)[:, None]) & (counts % 2 == 1)[:, None]
        levels.append(PoolLevel(np.nonzero(meets), np.nonzero(passes), slots))
        counts = (counts + 1) // 2
    return PoolTree(taps, tuple(levels))


def _taps(size: int, kernel: int, stride: int, pad_before: int, outputs: int) -> list[range]:
    starts = (index * stride - pad_before for index in range(outputs))
    return [range(max(start, 0), min(start + kernel, size)) for start in starts]


def run_pool_tree(share: np.ndarray, shape: MaxPool, relu: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
    """Share of the maxima from the share of x, uint32 [N, C, H, W] -> [N, C, H', W'].

    `relu(level, difference)` is the share of max(difference, 0) for a share [N, E]: max(a, b) = b + relu(a − b).
    """
    images, channels = share.shape[:2]
    tree = pool_tree(shape)
    values = share.reshape(images, channels, -1)[:, :, tree.taps]
    for index, level in enumerate(tree.levels):
        window, slot = level.places
        left, right = values[:, :, window, 2 * slot], values[:, :, window, 2 * slot + 1]
        positive = relu(index, _flat(left - right))
        merged = np.zeros((images, channels, len(tree.taps), level.slots), np.uint32)
        merged[:, :, window, slot] = right + positive.reshape(right.shape)
        window, slot = level.odd
        merged[:, :, window, slot] = values[:, :, window, 2 * slot]
        values = merged
    return values[:, :, :, 0].reshape(images, channels, shape.out_height, shape.out_width)


def first_differences(x: np.ndarray, shape: MaxPool) -> np.ndarray:
    """a − b of the pairs that meet in the first level: uint32 [N, C, H, W] -> [N, E], linear in x."""
    images, channels = x.shape[:2]
    tree = pool_tree(shape)
    window, slot = tree.levels[0].places
    flat = x.reshape(images, channels, -1)
    left, right = tree.taps[window, 2 * slot], tree.taps[window, 2 * slot + 1]
    return _flat(flat[:, :, left] - flat[:, :, right])


def _flat(picked: np.ndarray) -> np.ndarray:
    """[N, ...] -> [N, E] in order: indexing leaves the elements of one channel in another one, image by image."""
    return np.ascontiguousarray(picked.reshape(len(picked), -1))


def tournament(valid: int) -> Iterator[int]:
    """Comparisons per level that reduce `valid` values to their maximum."""
    while valid > 1:
        yield valid // 2
        valid -= valid // 2


def pool_levels(shape: MaxPool) -> tuple[int, ...]:
    """Comparisons of one image in each level of a MaxPool tree; padding is left out of the windows."""
    rows = _valid_counts(shape.height, shape.kernel[0], shape.stride[0], shape.padding[0], shape.out_height)
    columns = _valid_counts(shape.width, shape.kernel[1], shape.stride[1], shape.padding[1], shape.out_width)
    levels: list[int] = []
    for row in rows:
        for column in columns:
            for level, comparisons in enumerate(tournament(row * column)):
                if level == len(levels):
                    levels.append(0)
                levels[level] += comparisons * shape.channels
    return tuple(levels)


def _valid_counts(size: int, kernel: int, stride: int, pad_before: int, outputs: int) -> list[int]:
    """How many taps of each window lie inside the image, along one axis."""
    starts = (index * stride - pad_before for index in range(outputs))
    return [min(start + kernel, size) - max(start, 0) for start in starts]


def pool_shape(operation: MaxPoolOp, program: Program) -> MaxPool:
    """A pooling's geometry."""
    channels, height, width = program.tensor(operation.inputs[0]).shape
    return MaxPool(channels, height, width, operation.kernel, operation.stride, operation.padding)


def comparison_counts(shape: Relu | Select | MaxPool, batch: int) -> tuple[int, ...]:
    """Comparisons that are made side by side, level after level."""
    if isinstance(shape, Relu):
        return (batch * shape.elements,)
    if isinstance(shape, Select):
        return (batch * shape.signs,)
    return tuple(batch * count for count in pool_levels(shape))

"""Words picked out of a tensor and put in another order: the index arithmetic of `PickOp`, on arrays of any kind."""

from __future__ import annotations

import functools
import math

import numpy as np

#: One offset per position on each axis of the result; see `PickOp`.
Offsets = tuple[tuple[int, ...], ...]


def pick_index(offsets: Offsets) -> np.ndarray:
    """int64 [*result shape]: which word of the flat source each element is, -1 where it is zero."""
    total, zero = np.zeros((), np.int64), np.zeros((), bool)
    for axis, row in enumerate(offsets):
        along = (-1, *(1,) * (len(offsets) - axis - 1))
        values = np.asarray(row, np.int64).reshape(along)
        total, zero = total + values, zero | (values < 0)
    return np.where(zero, -1, total)


def pick(words: np.ndarray, offsets: Offsets) -> np.ndarray:
    """Words [N, *source shape] -> [N, *result shape]."""
    index = pick_index(offsets)
    flat = words.reshape(len(words), -1)
    picked = flat[:, np.maximum(index, 0).reshape(-1)].reshape(len(words), *index.shape)
    return picked if index.min(initial=0) >= 0 else np.where(index < 0, np.zeros((), words.dtype), picked)


def channel_offsets(first: int, end: int, shape: tuple[int, ...]) -> Offsets:
    """The offsets that take channels [first, end) of a tensor."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    inner = (tuple(range(0, size * stride, stride)) for size, stride in zip(shape[1:], strides[1:]))
    return (tuple(range(first * strides[0], end * strides[0], strides[0])), *inner)


def channel_range(offsets: Offsets, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The channels [first, end) of a tensor of this shape that are picked as they are; None where it is another pick.

    These words lie side by side in the tensor, so that nothing needs to be moved.
    """
    size = math.prod(shape[1:])
    first, rest = divmod(offsets[0][0], size)
    end = first + len(offsets[0])
    found = not rest and 0 <= first < end <= shape[0] and offsets == channel_offsets(first, end, shape)
    return (first, end) if found else None


def separate(index: np.ndarray) -> Offsets | None:
    """The offsets of an index array, or None where it is not a sum of one offset per axis."""
    zero = index < 0
    if zero.all():
        return tuple((-1,) * size for size in index.shape)
    kept = [~zero.all(axis=tuple(a for a in range(index.ndim) if a != axis)) for axis in range(index.ndim)]
    inner = index[np.ix_(*kept)].astype(np.int64)
    if (inner < 0).any():
        return None
    along = [
        inner[tuple(slice(None) if other == axis else 0 for other in range(index.ndim))] - inner.flat[0]
        for axis in range(index.ndim)
    ]
    starts = [int(row.min()) for row in along]
    rows = []
    for axis, row in enumerate(along):
        # every offset counts from its axis' least one, the first axis' from the first word
        offset = np.full(index.shape[axis], -1, np.int64)
        offset[kept[axis]] = row - starts[axis] + (int(inner.flat[0]) + sum(starts) if axis == 0 else 0)
        rows.append(tuple(int(word) for word in offset))
    offsets = tuple(rows)
    return offsets if np.array_equal(pick_index(offsets), index) else None


@functools.lru_cache(maxsize=256)
def _reach(offsets: Offsets, source: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Least and greatest channel and row of the source per channel and row of the result; least > greatest: none."""
    height, width = (source[1], source[2]) if len(source) == 3 else (1, 1)
    index = pick_index(offsets)
    index = index.reshape(index.shape[0], -1, index.shape[2] if index.ndim == 3 else 1)
    channels, rows, none = index // (height * width), index // width % height, index < 0
    huge = math.prod(source)
    return (
        np.where(none, huge, channels).min(axis=2),
        np.where(none, -1, channels).max(axis=2),
        np.where(none, huge, rows).min(axis=2),
        np.where(none, -1, rows).max(axis=2),
    )


def picked_region(
    offsets: Offsets, source: tuple[int, ...], channels: tuple[int, int], rows: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Channels and rows of the source that half-open ranges of the result's come from; empty where all is zero."""
    tile = slice(*channels), slice(*rows)
    first, last, top, bottom = (bound[tile] for bound in _reach(offsets, source))
    if last.max(initial=-1) < 0:
        return (0, 0), (0, 0)
    return (int(first.min()), int(last.max()) + 1), (int(top.min()), int(bottom.max()) + 1)

"""Patches of an image: which pixels share a sign."""

from __future__ import annotations

import functools

import numpy as np


def patch_grid(shape: tuple[int, ...], patch: tuple[int, int]) -> tuple[int, ...]:
    """[C, ⌈H / h⌉, ⌈W / w⌉]: one number for every patch of h x w pixels; those at the far ends may be smaller."""
    return shape[0], -(-shape[1] // patch[0]), -(-shape[2] // patch[1])


@functools.lru_cache(maxsize=64)
def patch_index(shape: tuple[int, ...], patch: tuple[int, int]) -> np.ndarray:
    """int64 [C·H·W]: the number of each pixel's patch."""
    grid = patch_grid(shape, patch)
    numbers = np.arange(np.prod(grid)).reshape(grid)
    spread = numbers.repeat(patch[0], axis=1).repeat(patch[1], axis=2)
    return np.ascontiguousarray(spread[:, : shape[1], : shape[2]]).reshape(-1)

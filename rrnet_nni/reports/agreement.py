"""How well an executed network agrees with the model it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Logits of one execution beside those of another, image by image.

    Attributes:
        same_class: fraction of the images with the same argmax.
        largest_difference: [images] float, the largest absolute difference of a logit, per image.
    """

    images: int
    same_class: float
    largest_difference: np.ndarray

    @property
    def worst_difference(self) -> float:
        return float(self.largest_difference.max(initial=0.0))


def compare_logits(expected: np.ndarray, found: np.ndarray) -> Agreement:
    """Compare logits [images, classes] of two executions.

    Raises:
        ValueError: the shapes differ.
    """
    expected, found = np.asarray(expected, dtype=np.float64), np.asarray(found, dtype=np.float64)
    if expected.shape != found.shape or expected.ndim != 2:
        raise ValueError(f"logits of shape {found.shape} cannot be compared with {expected.shape}")
    same = expected.argmax(axis=1) == found.argmax(axis=1)
    return Agreement(len(expected), float(same.mean()), np.abs(expected - found).max(axis=1))

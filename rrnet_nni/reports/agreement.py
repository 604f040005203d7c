"""How well an executed network agrees with the model it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


def onnx_logits(path: Path, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Logits [N, classes] that onnxruntime computes for float32 images [N, C, H, W]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    images = np.asarray(images, dtype=np.float32)
    chunks = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    return np.concatenate([session.run(None, {name: chunk})[0] for chunk in chunks])

"""Accuracy under 2PC: what the compiled 32-bit fixed-point program classifies correctly."""

from __future__ import annotations

import numpy as np

from rrnet_nni.fpga.program.build import Build
from rrnet_nni.fpga.program.reference import run_reference


def fixed_point_logits(build: Build, images: np.ndarray, batch_size: int = 128, seed: int = 0) -> np.ndarray:
    """Logits [N, classes] of the program's fixed-point meaning on normalized float images [N, C, H, W].

    Bit-identical to what two parties compute, up to the random bit of each truncation, which `seed` draws here.
    """
    chunks = [
        run_reference(build.program, build.weights, images[start : start + batch_size], seed=seed + start)
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate([np.asarray(chunk).reshape(len(chunk), -1) for chunk in chunks])


def fixed_point_accuracy(build: Build, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Fraction of the images whose largest fixed-point logit is their label's."""
    return float((fixed_point_logits(build, images, seed=seed).argmax(axis=1) == np.asarray(labels)).mean())

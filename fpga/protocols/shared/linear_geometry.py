"""What the linear operations of a protocol share: geometry, the ring product, words opened, the weights' set-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...program import WORD_BYTES, ConvOp, LinearOp, Program
from ...program.operators import Conv, Linear, OperatorShape
from ...ring import PackedWeights, ring_conv2d, ring_matmul
from ..party import Channel


def weight_setup_bytes(shape: OperatorShape) -> tuple[int, int]:
    """F = W − B, opened once per session."""
    if isinstance(shape, Conv | Linear):
        return WORD_BYTES * shape.weights, WORD_BYTES * shape.weights
    return 0, 0


def linear_geometry(operation: ConvOp | LinearOp, program: Program) -> LinearGeometry:
    """The ring product of a convolution or a linear layer."""
    weights = program.constants[operation.weight].shape
    if isinstance(operation, LinearOp):
        return LinearGeometry(weights)
    return LinearGeometry(weights, operation.stride, operation.padding, operation.groups)


def open_words(channel: Channel, share: np.ndarray) -> np.ndarray:
    """Reveal a masked value to both parties: the sum of the two shares."""
    share = np.ascontiguousarray(share)
    received = channel.exchange(share, share.nbytes)
    return share + received.view("<u4").astype(np.uint32, copy=False).reshape(share.shape)


@dataclass(frozen=True)
class LinearGeometry:
    """A convolution's geometry, or a matrix product's (`padding` and `stride` unused)."""

    weights: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    def product(self, x: np.ndarray, weights: PackedWeights, out: np.ndarray | None = None) -> np.ndarray:
        """x ⊗ weights on the ring, added to `out` when it is given."""
        if len(self.weights) == 2:
            return ring_matmul(x, weights, out)
        return ring_conv2d(x, weights, self.stride, self.padding, out=out)

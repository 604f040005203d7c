"""Beaver products of `beaver-ot`: convolution, matrix product and square, and truncation by an opened word.

Each class holds the dealer's part (`deal`) next to the parties' part (`evaluate`), which draw the same values in the
same order. Arrays are uint32 [N, *shape]; index i of a share is the party's number.
"""

from __future__ import annotations

import numpy as np

from ...program import TRUNCATION_BOUND_BITS
from ...ring import PackedWeights, pack_weights
from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from ..shared.linear_geometry import LinearGeometry, open_words
from .tables import tables

Sources = tuple[RandomSource, RandomSource]


class BeaverLinear:
    """Eq. 2 with the weight mask B of the whole session: F = W − B is opened once, E = X − A for every input.

    Party i computes X_i ⊗ F + E ⊗ B_i + Z_i, with B_i = Y_i − F_i its share of the mask, which it can expand from its
    seed wherever it needs it; the two sum to X ⊗ F + E ⊗ B + A ⊗ B = X ⊗ W.
    """

    def __init__(self, number: int, geometry: LinearGeometry) -> None:
        self.number, self.geometry = number, geometry

    def setup(self, channel: Channel, weight_share: np.ndarray, mask_share: np.ndarray) -> None:
        """Open F = W − B and lay out the two factors that every image meets."""
        opened = open_words(channel, weight_share - mask_share)
        self._opened = pack_weights(opened, self.geometry.groups)
        self._mask = pack_weights(mask_share, self.geometry.groups)

    def evaluate(
        self, channel: Channel, share: np.ndarray, output: tuple[int, ...], source: RandomSource, dealt: Corrections
    ) -> np.ndarray:
        """Share of X ⊗ W from the share of X; `output` is the shape of one image's result."""
        difference = open_words(channel, share - source.words(*share.shape[1:]))
        result = source.words(*output) if self.number == 0 else dealt.words(*output)
        self.geometry.product(share, self._opened, result)
        return self.geometry.product(difference, self._mask, result)

    @staticmethod
    def deal(
        geometry: LinearGeometry,
        mask: PackedWeights,
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        sources: Sources,
        writer: CorrectionWriter,
    ) -> None:
        """Z_1 = A ⊗ B − Z_0 for inputs and outputs of `shapes`."""
        a = sources[0].words(*shapes[0]) + sources[1].words(*shapes[0])
        writer.put(geometry.product(a, mask) - sources[0].words(*shapes[1]))


class BeaverSquare:
    """Eq. 3 with its erratum: R_i = Z_i + 2 E ⊙ A_i, and E ⊙ E is added by party 0 alone."""

    @staticmethod
    def evaluate(
        number: int, channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
    ) -> np.ndarray:
        shape = share.shape[1:]
        a = source.words(*shape)
        difference = open_words(channel, share - a)
        if number == 0:
            return source.words(*shape) + difference * (a + a + difference)
        return dealt.words(*shape) + difference * (a + a)

    @staticmethod
    def deal(shape: tuple[int, ...], sources: Sources, writer: CorrectionWriter) -> None:
        """Z_1 = A ⊙ A − Z_0."""
        a = sources[0].words(*shape) + sources[1].words(*shape)
        writer.put(a * a - sources[0].words(*shape))


class BeaverMul:
    """Eq. 2 element by element: E = X − A and F = Y − B are opened in one round; Y is broadcast where it is smaller.

    Party i computes Z_i + E ⊙ B_i + F ⊙ A_i, and E ⊙ F is added by party 0 alone.
    """

    @staticmethod
    def evaluate(
        number: int,
        channel: Channel,
        factors: tuple[np.ndarray, np.ndarray],
        source: RandomSource,
        dealt: Corrections,
    ) -> np.ndarray:
        x, y = factors
        a, b = source.words(*x.shape[1:]), source.words(*y.shape[1:])
        e, f = open_together(channel, (x - a, y - b))
        if number == 0:
            return source.words(*x.shape[1:]) + e * (b + f) + f * a
        return dealt.words(*x.shape[1:]) + e * b + f * a

    @staticmethod
    def deal(shapes: tuple[tuple[int, ...], tuple[int, ...]], sources: Sources, writer: CorrectionWriter) -> None:
        """Z_1 = A ⊙ B − Z_0."""
        a, b = (sources[0].words(*shape) + sources[1].words(*shape) for shape in shapes)
        writer.put(a * b - sources[0].words(*shapes[0]))


def open_together(channel: Channel, shares: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Reveal two masked values in one round."""
    images, split = len(shares[0]), shares[0][0].size
    opened = open_words(channel, np.concatenate([share.reshape(images, -1) for share in shares], axis=1))
    return opened[:, :split].reshape(shares[0].shape), opened[:, split:].reshape(shares[1].shape)


class Truncation:
    """Drop s bits of z, |z| < 2^30, by opening M = z + 2^30 + r with a dealt mask r.

    z >> s is (M >> s) − (r >> s) + w·2^(32−s) − 2^(30−s), or one less: w says that the sum wrapped, which is the top
    bit of r where M's top bit is clear. The mask, r >> s and the top bit of r are shared.
    """

    @staticmethod
    def evaluate(
        number: int, bits: int, channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
    ) -> np.ndarray:
        shape = share.shape[1:]
        masked = share + source.words(*shape)
        if number == 0:
            masked += np.uint32(1 << TRUNCATION_BOUND_BITS)
        opened = open_words(channel, masked)
        shifted, top = (source.words(*shape), source.words(*shape)) if number == 0 else dealt_pair(dealt, shape)
        return tables().truncate(number, opened, shifted, top, bits)

    @staticmethod
    def deal(bits: int, shape: tuple[int, ...], sources: Sources, writer: CorrectionWriter) -> None:
        """Party 1's shares of r >> s and of the top bit of r."""
        r = truncation_mask(shape, sources)
        writer.put((r >> np.uint32(bits)) - sources[0].words(*shape))
        writer.put((r >> np.uint32(31)) - sources[0].words(*shape))


def dealt_pair(dealt: Corrections, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two consecutive corrections of one shape."""
    return dealt.words(*shape), dealt.words(*shape)


def truncation_mask(shape: tuple[int, ...], sources: Sources) -> np.ndarray:
    """The mask r of a truncation from both parties' material: what the dealer knows."""
    return sources[0].words(*shape) + sources[1].words(*shape)

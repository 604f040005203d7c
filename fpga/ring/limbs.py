"""Ring products without a compiler: 16-bit limbs in float64, so that BLAS sums them exactly.

A word is lo + 2^16 hi; modulo 2^32 the product needs lo·lo and 2^16 (lo·hi + hi·lo). A sum of K products of limbs stays
below 2^53, hence exact, for K < 2^20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import ConvGeometry, conv_geometry

_EXACT_DEPTH = 1 << 19


@dataclass(frozen=True)
class LimbWeights:
    """Weights uint32 [O, C / groups, kh, kw] as float64 limbs [groups, depth, O / groups]."""

    shape: tuple[int, ...]
    groups: int
    low: np.ndarray
    high: np.ndarray


class LimbBackend:
    """`ring_conv2d` and `ring_matmul` in NumPy."""

    name = "limbs"

    def pack(self, weights: np.ndarray, groups: int) -> LimbWeights:
        outputs = weights.shape[0]
        columns = weights.reshape(groups, outputs // groups, -1).transpose(0, 2, 1)
        low, high = _limbs(columns)
        return LimbWeights(tuple(weights.shape), groups, low, high)

    def conv2d(
        self,
        x: np.ndarray,
        weights: LimbWeights,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        out: np.ndarray | None,
    ) -> np.ndarray:
        geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, weights.groups)
        if out is None:
            out = np.zeros((len(x), geometry.out_channels, geometry.out_height, geometry.out_width), np.uint32)
        for image in range(len(x)):
            out[image] += self._one_image(x[image], weights, geometry)
        return out

    def _one_image(self, image: np.ndarray, weights: LimbWeights, geometry: ConvGeometry) -> np.ndarray:
        top, left, bottom, right = geometry.padding
        padded = np.pad(image, ((0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, geometry.kernel, axis=(1, 2))
        windows = windows[:, :: geometry.stride[0], :: geometry.stride[1]]
        pixels = geometry.out_height * geometry.out_width
        grouped = windows.reshape(geometry.groups, geometry.channels // geometry.groups, *windows.shape[1:])
        rows = grouped.transpose(0, 2, 3, 1, 4, 5).reshape(geometry.groups, pixels, -1)
        products = _products(rows, weights.low, weights.high)
        return products.transpose(0, 2, 1).reshape(geometry.out_channels, geometry.out_height, geometry.out_width)

    def matmul(self, x: np.ndarray, weights: LimbWeights, out: np.ndarray | None) -> np.ndarray:
        product = _products(x[None], weights.low, weights.high)[0]
        if out is None:
            return product
        out += product
        return out


def _limbs(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (words & np.uint32(0xFFFF)).astype(np.float64), (words >> np.uint32(16)).astype(np.float64)


def _products(rows: np.ndarray, weights_low: np.ndarray, weights_high: np.ndarray) -> np.ndarray:
    """rows uint32 [G, M, K] times limbs [G, K, N] -> uint32 [G, M, N]."""
    total = np.zeros((rows.shape[0], rows.shape[1], weights_low.shape[2]), np.uint32)
    for start in range(0, rows.shape[2], _EXACT_DEPTH):
        part = slice(start, start + _EXACT_DEPTH)
        low, high = _limbs(rows[:, :, part])
        total += _modulo(low @ weights_low[:, part])
        cross = low @ weights_high[:, part] + high @ weights_low[:, part]
        total += _modulo(cross) << np.uint32(16)
    return total


def _modulo(exact: np.ndarray) -> np.ndarray:
    return (exact.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)

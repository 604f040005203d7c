"""Choice of the ring backend, and the functions that the rest of the project calls."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from rrnet_nni.base.errors import Refusal

from ..native.backend import CUDA, SWITCH, choose, wanted_backend
from ..native.library import CompilationUnavailable
from .compiled import CompiledBackend, CompiledWeights
from .device import DeviceBackend, DeviceWeights
from .geometry import conv_geometry
from .limbs import LimbBackend, LimbWeights
from .tiles import TileBackend, TileWeights

PackedWeights: TypeAlias = CompiledWeights | TileWeights | LimbWeights | DeviceWeights
_log = logging.getLogger(__name__)


class RingBackend(Protocol):
    """What a backend provides; weights are packed once and used for many products."""

    name: str

    def pack(self, weights: np.ndarray, groups: int) -> Any: ...

    def conv2d(
        self,
        x: np.ndarray,
        weights: Any,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        out: np.ndarray | None,
    ) -> np.ndarray: ...

    def matmul(self, x: np.ndarray, weights: Any, out: np.ndarray | None) -> np.ndarray: ...


def ring_conv2d(
    x: np.ndarray,
    weights: np.ndarray | PackedWeights,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolution modulo 2^32.

    x: uint32 [N, C, H, W]; weights: uint32 [O, C / groups, kh, kw], or packed by `pack_weights` (which fixes `groups`);
    padding: (top, left, bottom, right) zeros. Returns uint32 [N, O, H', W']; with `out` the result is added to it.
    """
    backend = _backend()
    if isinstance(weights, np.ndarray):
        conv_geometry(x.shape[1:], weights.shape, stride, padding, groups)
        weights = backend.pack(_words(weights), groups)
    return backend.conv2d(_words(x), weights, stride, padding, out)


def ring_matmul(x: np.ndarray, weights: np.ndarray | PackedWeights, out: np.ndarray | None = None) -> np.ndarray:
    """x uint32 [N, in] times the transpose of weights uint32 [out, in], modulo 2^32: uint32 [N, out].

    Weights may be packed by `pack_weights`; with `out` the result is added to it.
    """
    backend = _backend()
    if isinstance(weights, np.ndarray):
        weights = pack_weights(weights)
    if x.ndim != 2 or x.shape[1] != weights.shape[1]:
        raise ValueError(f"a matrix of shape {x.shape} does not fit weights of shape {weights.shape[:2]}")
    return backend.matmul(_words(x), weights, out)


def pack_weights(weights: np.ndarray, groups: int = 1) -> PackedWeights:
    """Lay out uint32 weights [O, C / groups, kh, kw] or [out, in] once for many products."""
    if weights.ndim == 2:
        weights = weights[:, :, None, None]
    return _backend().pack(_words(weights), groups)


def backend_name() -> str:
    """The backend in use on this machine."""
    return _backend().name


def _words(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint32:
        raise TypeError(f"ring elements are uint32, not {array.dtype}")
    return array


@functools.cache
def _backend() -> RingBackend:
    if wanted_backend() == CUDA:
        return _proven_device()
    compiled: Callable[[], RingBackend] = _fastest
    return choose(compiled, LimbBackend, passes_self_test)


def _proven_device() -> RingBackend:
    device = DeviceBackend()
    if not passes_self_test(device):
        raise Refusal(f"{SWITCH}={CUDA}: the device multiplies wrongly; leave {SWITCH} unset")
    return device


def _fastest() -> RingBackend:
    """On matrix tiles where the machine has them and they compute rightly, else on vectors of words."""
    try:
        tiles = TileBackend()
    except CompilationUnavailable as reason:
        _log.debug("products of words: %s", reason)
        return CompiledBackend()
    if passes_self_test(tiles):
        return tiles
    _log.warning("matrix tiles compute wrongly as they were compiled here; vectors do their work")
    return CompiledBackend()


def passes_self_test(backend: RingBackend) -> bool:
    """Compare one convolution per kind (dense, grouped, depthwise) and a product with plain Python integers."""
    words = np.arange(1, 1201, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(0x9E3779B9)
    sample = (words & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x = sample[:192].reshape(2, 4, 4, 6)
    for outputs, groups in ((19, 1), (6, 2), (4, 4)):
        weights = sample[200 : 200 + outputs * (4 // groups) * 6].reshape(outputs, 4 // groups, 3, 2)
        result = backend.conv2d(x, backend.pack(weights, groups), (2, 1), (1, 0, 1, 1), None)
        if not np.array_equal(result, _plain_conv(x, weights, (2, 1), (1, 0, 1, 1), groups)):
            return False
    rows, matrix = sample[:78].reshape(2, 39), sample[100:685].reshape(15, 39)
    expected = [[sum(int(a) * int(b) for a, b in zip(row, line)) % 2**32 for line in matrix] for row in rows]
    packed = backend.pack(matrix[:, :, None, None], 1)
    return bool(np.array_equal(backend.matmul(rows, packed, None), np.array(expected, np.uint32)))


def _plain_conv(
    x: np.ndarray,
    weights: np.ndarray,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
) -> np.ndarray:
    """The definition of a convolution, in Python integers."""
    geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, groups)
    top, left, bottom, right = padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))).astype(object)
    shape = (len(x), geometry.out_channels, geometry.out_height, geometry.out_width)
    result = np.empty(shape, np.uint32)
    inputs, outputs = geometry.channels // groups, geometry.out_channels // groups
    for n, o, y, z in np.ndindex(*shape):
        first = o // outputs * inputs
        window = padded[n, first : first + inputs, y * stride[0] :, z * stride[1] :]
        total = (window[:, : geometry.kernel[0], : geometry.kernel[1]] * weights[o].astype(object)).sum()
        result[n, o, y, z] = int(total) % 2**32
    return result

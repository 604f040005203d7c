"""Ring products on a CPU's matrix tiles (AMX): ten products of octets for one of words, ten times as fast as words."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..native.library import CompilationUnavailable, address, build_library, declare, load_library
from ..native.threads import run_parts, thread_count
from .compiled import CompiledBackend, CompiledWeights, KernelGeometry, check_memory, is_depthwise, word_address
from .geometry import ConvGeometry, conv_geometry

_SOURCE = Path(__file__).with_name("tile_kernels.c")
#: Outputs of one panel of weights.
_SIDE = 16
#: Threads take windows of their own, not outputs, where each then has so many.
_WINDOWS_OF_A_THREAD = 4 * _SIDE


@dataclass(frozen=True)
class TileWeights:
    """Weights uint32 [O, C / groups, kh, kw] as tiles of octets."""

    shape: tuple[int, ...]
    groups: int
    octets: np.ndarray


class TileBackend:
    """Dense and grouped products on tiles, depthwise ones on vectors of words.

    Raises `CompilationUnavailable` where the CPU has no tiles or the system does not lend them.
    """

    name = "compiled"

    def __init__(self) -> None:
        self._words = CompiledBackend()
        self._tiles = load_library(build_library(_SOURCE), {"tile_available": (ctypes.c_int, [])})
        if not self._tiles.tile_available():
            raise CompilationUnavailable("this machine has no matrix tiles")
        declare(self._tiles, _SIGNATURES)

    def pack(self, weights: np.ndarray, groups: int) -> CompiledWeights | TileWeights:
        if is_depthwise(weights.shape, groups):
            return self._words.pack(weights, groups)
        weights = np.ascontiguousarray(weights)
        outputs, inputs, kernel_h, kernel_w = weights.shape
        taps, per_group = kernel_h * kernel_w, outputs // groups
        octets = np.empty((groups, self._tiles.tile_packed_octets(per_group, inputs * taps)), np.uint8)
        for group in range(groups):
            part = weights[group * per_group : (group + 1) * per_group]
            self._tiles.tile_pack(word_address(part), per_group, inputs, taps, address(octets[group]))
        return TileWeights(weights.shape, groups, octets)

    def conv2d(
        self,
        x: np.ndarray,
        weights: Any,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        out: np.ndarray | None,
    ) -> np.ndarray:
        if not isinstance(weights, TileWeights):
            return self._words.conv2d(x, weights, stride, padding, out)
        geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, weights.groups)
        accumulate = out is not None
        if out is None:
            out = np.empty((len(x), geometry.out_channels, geometry.out_height, geometry.out_width), np.uint32)
        self._convolve(np.ascontiguousarray(x), geometry, weights, out, accumulate)
        return out

    def matmul(self, x: np.ndarray, weights: Any, out: np.ndarray | None) -> np.ndarray:
        outputs = weights.shape[0]
        pixels = None if out is None else out[:, :, None, None]
        return self.conv2d(x[:, :, None, None], weights, (1, 1), (0, 0, 0, 0), pixels).reshape(len(x), outputs)

    def _convolve(
        self, x: np.ndarray, geometry: ConvGeometry, weights: TileWeights, out: np.ndarray, accumulate: bool
    ) -> None:
        windows = len(x) * geometry.out_height * geometry.out_width
        panels = -(-geometry.out_channels // weights.groups // _SIDE)
        fixed = word_address(x), ctypes.byref(KernelGeometry.of(geometry)), address(weights.octets)

        def part(first: int, end: int, panel: int, last: int) -> None:
            status = self._tiles.tile_conv2d(*fixed, first, end, panel, last, word_address(out), int(accumulate))
            check_memory(status)

        if windows >= _WINDOWS_OF_A_THREAD * thread_count():
            run_parts(lambda first, end: part(first, end, 0, panels), windows, _SIDE)
        else:
            run_parts(lambda panel, last: part(0, windows, panel, last), panels)


_POINTER, _SIZE, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tile_packed_octets": (_SIZE, [_SIZE, _SIZE]),
    "tile_pack": (None, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "tile_conv2d": (_FLAG, [_POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _SIZE, _POINTER, _FLAG]),
}

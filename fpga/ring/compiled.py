"""Ring products in C, compiled at first use for the CPU that runs them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..native.library import address, build_library, load_library
from ..native.threads import run_parts
from .geometry import ConvGeometry, conv_geometry

_SOURCE = Path(__file__).with_name("ring_kernels.c")


class KernelGeometry(ctypes.Structure):
    """`ConvGeometry` as the kernels read it."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("channels", "height", "width", "out_channels", "out_height", "out_width"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left", "groups"),
        )
    ]

    @staticmethod
    def of(geometry: ConvGeometry) -> KernelGeometry:
        return KernelGeometry(
            *(geometry.channels, geometry.height, geometry.width),
            *(geometry.out_channels, geometry.out_height, geometry.out_width),
            *geometry.kernel,
            *geometry.stride,
            *geometry.padding[:2],
            geometry.groups,
        )


@dataclass(frozen=True)
class CompiledWeights:
    """Weights uint32 [O, C / groups, kh, kw] laid out for the kernels."""

    shape: tuple[int, ...]
    groups: int
    words: np.ndarray


class CompiledBackend:
    """`ring_conv2d` and `ring_matmul` in C; raises `CompilationUnavailable` where they cannot be built."""

    name = "compiled"

    def __init__(self) -> None:
        self._library = load_library(build_library(_SOURCE), _SIGNATURES)

    def pack(self, weights: np.ndarray, groups: int) -> CompiledWeights:
        weights = np.ascontiguousarray(weights)
        outputs, inputs, kernel_h, kernel_w = weights.shape
        taps = kernel_h * kernel_w
        if is_depthwise(weights.shape, groups):
            return CompiledWeights(weights.shape, groups, np.ascontiguousarray(weights.reshape(outputs, taps).T))
        per_group = outputs // groups
        words = np.empty((groups, self._library.ring_packed_words(per_group, inputs * taps)), np.uint32)
        for group in range(groups):
            part = weights[group * per_group : (group + 1) * per_group]
            self._library.ring_pack(word_address(part), per_group, inputs, taps, word_address(words[group]))
        return CompiledWeights(weights.shape, groups, words)

    def conv2d(
        self,
        x: np.ndarray,
        weights: CompiledWeights,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        out: np.ndarray | None,
    ) -> np.ndarray:
        geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, weights.groups)
        accumulate = out is not None
        if out is None:
            out = np.empty((len(x), geometry.out_channels, geometry.out_height, geometry.out_width), np.uint32)
        described = KernelGeometry.of(geometry)
        depthwise = is_depthwise(weights.shape, weights.groups)
        kernel = self._library.ring_depthwise if depthwise else self._library.ring_conv2d
        images, result = np.ascontiguousarray(x), out

        def part(first: int, end: int) -> None:
            addresses = word_address(images[first:end]), end - first, ctypes.byref(described)
            check_memory(
                kernel(*addresses, word_address(weights.words), word_address(result[first:end]), int(accumulate))
            )

        run_parts(part, len(images))
        return out

    def matmul(self, x: np.ndarray, weights: CompiledWeights, out: np.ndarray | None) -> np.ndarray:
        accumulate = out is not None
        outputs, depth = weights.shape[:2]
        if out is None:
            out = np.empty((len(x), outputs), np.uint32)
        rows = np.ascontiguousarray(x)
        status = self._library.ring_matmul(
            *(
                word_address(rows),
                len(rows),
                depth,
                word_address(weights.words),
                outputs,
                word_address(out),
                int(accumulate),
            )
        )
        check_memory(status)
        return out


def is_depthwise(shape: tuple[int, ...], groups: int) -> bool:
    return groups == shape[0] and shape[1] == 1 and groups > 1


def word_address(array: np.ndarray) -> int:
    """Where contiguous uint32 words lie."""
    if array.dtype != np.uint32:
        raise ValueError("a ring kernel needs uint32 words")
    return address(array)


def check_memory(status: int) -> None:
    if status:
        raise MemoryError("not enough memory for a ring convolution")


_POINTER, _SIZE, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "ring_packed_words": (_SIZE, [_SIZE, _SIZE]),
    "ring_pack": (None, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "ring_conv2d": (_FLAG, [_POINTER, _SIZE, _POINTER, _POINTER, _POINTER, _FLAG]),
    "ring_depthwise": (_FLAG, [_POINTER, _SIZE, _POINTER, _POINTER, _POINTER, _FLAG]),
    "ring_matmul": (_FLAG, [_POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER, _FLAG]),
}

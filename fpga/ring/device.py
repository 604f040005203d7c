"""Ring products on a CUDA GPU through torch: the 16-bit limbs of `limbs.py`, in float64, which GPUs of data centers are
built for.

Words travel to the device and back for every product, so that shares stay where the other kernels work; weights are
packed there once. It is taken only where RRNET_RING_BACKEND=cuda asks for it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal

from ..native.backend import CUDA, SWITCH
from .geometry import ConvGeometry, conv_geometry

#: Terms of a sum of products of limbs that stay below 2^53.
_EXACT_DEPTH = 1 << 19
#: Bytes of windows that are laid out on the device at once.
_WINDOW_BYTES = 1 << 30
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class DeviceWeights:
    """Weights uint32 [O, C / groups, kh, kw] as float64 limbs [groups, depth, O / groups] on the device."""

    shape: tuple[int, ...]
    groups: int
    low: Any
    high: Any


class DeviceBackend:
    """`ring_conv2d` and `ring_matmul` on a device of torch's; `cpu` has the same sums, for tests.

    Raises:
        Refusal: torch is not installed, or sees no such device.
    """

    name = CUDA

    def __init__(self, device: str = "cuda") -> None:
        try:
            self._torch: Any = importlib.import_module("torch")  # the protocols stand without it
        except ImportError:
            raise Refusal(f"{SWITCH}={CUDA} needs torch: pip install torch") from None
        if device == "cuda" and not self._torch.cuda.is_available():
            raise Refusal(f"{SWITCH}={CUDA}: torch sees no CUDA device here; leave {SWITCH} unset")
        self.device = device

    def pack(self, weights: np.ndarray, groups: int) -> DeviceWeights:
        outputs = weights.shape[0]
        columns = self._words(weights).reshape(groups, outputs // groups, -1).transpose(1, 2)
        return DeviceWeights(tuple(weights.shape), groups, *self._limbs(columns))

    def conv2d(
        self,
        x: np.ndarray,
        weights: DeviceWeights,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        out: np.ndarray | None,
    ) -> np.ndarray:
        geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, weights.groups)
        shape = len(x), geometry.out_channels, geometry.out_height, geometry.out_width
        result = np.zeros(shape, np.uint32) if out is None else out
        per_image = 16 * geometry.channels * geometry.out_height * geometry.out_width * int(np.prod(geometry.kernel))
        step = max(1, _WINDOW_BYTES // per_image)
        for first in range(0, len(x), step):
            part = slice(first, first + step)
            rows = self._windows(self._words(x[part]), geometry)
            products = self._products(rows, weights).reshape(
                geometry.groups, -1, *shape[2:], shape[1] // weights.groups
            )
            result[part] += self._host(products.permute(1, 0, 4, 2, 3)).reshape(-1, *shape[1:])
        return result

    def matmul(self, x: np.ndarray, weights: DeviceWeights, out: np.ndarray | None) -> np.ndarray:
        product = self._host(self._products(self._words(x)[None], weights)[0])
        if out is None:
            return product
        out += product
        return out

    def _windows(self, x: Any, geometry: ConvGeometry) -> Any:
        """int64 [N, C, H, W] -> one row for every output pixel, [groups, N·pixels, depth]."""
        top, left, bottom, right = geometry.padding
        padded = self._torch.nn.functional.pad(x, (left, right, top, bottom))
        windows = padded.unfold(2, geometry.kernel[0], geometry.stride[0]).unfold(
            3, geometry.kernel[1], geometry.stride[1]
        )
        grouped = windows.reshape(len(x), geometry.groups, -1, *windows.shape[2:])
        rows = grouped.permute(1, 0, 3, 4, 2, 5, 6)
        return rows.reshape(geometry.groups, -1, geometry.channels // geometry.groups * int(np.prod(geometry.kernel)))

    def _products(self, rows: Any, weights: DeviceWeights) -> Any:
        """int64 rows [G, M, K] times limbs [G, K, N] -> int64 [G, M, N], of which the low 32 bits count."""
        total = self._torch.zeros(*rows.shape[:2], weights.low.shape[2], dtype=self._torch.int64, device=self.device)
        for start in range(0, rows.shape[2], _EXACT_DEPTH):
            part = slice(start, start + _EXACT_DEPTH)
            low, high = self._limbs(rows[:, :, part])
            total += (low @ weights.low[:, part]).long()
            cross = low @ weights.high[:, part] + high @ weights.low[:, part]
            total += (cross.long() & _WORD) << 16
        return total

    def _limbs(self, words: Any) -> tuple[Any, Any]:
        return (words & 0xFFFF).double(), (words >> 16).double()

    def _words(self, array: np.ndarray) -> Any:
        """uint32 of the host -> int64 of the device, 0 to 2^32 − 1."""
        signed = self._torch.from_numpy(np.ascontiguousarray(array).view(np.int32))
        return signed.to(self.device).long() & _WORD

    def _host(self, words: Any) -> np.ndarray:
        low = words & _WORD
        signed = (low - ((low >> 31) << 32)).int()
        found: np.ndarray = signed.contiguous().cpu().numpy().view(np.uint32)
        return found

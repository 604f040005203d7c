"""X2act in normalized bases, trained on a processor by kernels that pass over the data five times in all.

torch computes it as two batch normalizations, a square, a product, a sum and a look for what leaves the range, each of
them bound by memory. Here everything follows from sums of powers of one normalized input, z.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rrnet_nni.fpga.native.backend import choose
from rrnet_nni.fpga.native.library import build_library, load_library
from rrnet_nni.search_spaces import NormalizedX2act

_SOURCE = Path(__file__).with_name("squares.c")
_KINDS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_KERNELS = ("low_powers", "high_powers", "value", "gradient_sums", "gradient")
#: Columns up to which pixels are taken side by side, so that loops over few channels are long.
_WIDEST = 256
#: Elements for which another thread pays.
_SHARE = 1 << 17


class _Work(ctypes.Structure):
    """`work` of squares.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "above", "out")),
        *((name, ctypes.c_int64) for name in ("rows", "width")),
        *((name, ctypes.c_void_p) for name in ("mean", "inverse", "coefficients")),
        ("bound", ctypes.c_float),
        ("sums", ctypes.c_void_p),
    ]


class SquareKernels:
    """The compiled kernels; raises `CompilationUnavailable` where they cannot be built."""

    def __init__(self) -> None:
        names = [f"{kind}_{kernel}" for kind in _KINDS.values() for kernel in _KERNELS]
        signatures = {name: (None, [ctypes.POINTER(_Work)]) for name in names}
        self._library = load_library(build_library(_SOURCE), signatures)

    def kernel(self, name: str, dtype: torch.dtype) -> Callable[[Any], None]:
        found: Callable[[Any], None] = getattr(self._library, f"{_KINDS[dtype]}_{name}")
        return found

    def __call__(self, square: NormalizedX2act, x: Tensor) -> tuple[Tensor, Tensor]:
        """(value, range excess) of `square` in training mode; its running statistics move on.

        x: float32 or bfloat16 [N, C, H, W] on the CPU, copied where it does not lie as N, H, W, C.
        """
        value, excess = _Square.apply(x, square.a0, square.a1, square.a2, square, self)
        return value, excess

    def __reduce__(self) -> tuple[Callable[[], SquareKernels | None], tuple[()]]:
        return square_kernels, ()  # a library cannot be copied


@cache
def square_kernels() -> SquareKernels | None:
    """The kernels where they can be built and agree with torch on this machine; else None: torch does their work."""
    return choose(SquareKernels, lambda: None, lambda kernels: kernels is None or _agree(kernels))


def has_normalized_squares(network: nn.Module) -> bool:
    """Whether there is any X2act in normalized bases."""
    return any(isinstance(module, NormalizedX2act) for module in network.modules())


def use_kernels(network: nn.Module, kernels: SquareKernels | None) -> None:
    """Let every X2act in normalized bases be computed by these kernels in training mode; None: by torch."""
    for module in network.modules():
        if isinstance(module, NormalizedX2act):
            module.kernels = kernels


def _agree(kernels: SquareKernels) -> bool:
    """Whether value, excess, gradients and running statistics of a small sample are torch's."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(6, 5, 4, 4, generator=generator) + 1
    answers = []
    for fused in (False, True):
        square, given = NormalizedX2act("self-test", 5), x.clone().requires_grad_()
        square.range_bound = 1.5
        square.kernels = kernels if fused else None
        value, excess = square(given), square.range_excess
        assert excess is not None
        ((value * x.flip(0)).sum() + excess).backward()
        gradients = [tensor.grad for tensor in (given, *square.parameters())]
        answers.append([value.detach(), excess.detach(), *gradients, *square.buffers()])
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(*answers, strict=True))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


class _Columns:
    """Activations that lie as N, H, W, C, as rows of columns of which each belongs to one channel.

    Args:
        kernels: the compiled ones.
        x: [N, C, H, W], N, H, W, C in memory.
        mean, inverse: float64 [C], of z = (x − mean) · inverse.
        bound: of z.
    """

    def __init__(self, kernels: SquareKernels, x: Tensor, mean: np.ndarray, inverse: np.ndarray, bound: float) -> None:
        channels, pixels = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3]
        self.kernels, self.x, self.bound, self.channels, self.side_by_side = kernels, x, bound, channels, 1
        while 2 * self.side_by_side * channels <= _WIDEST and pixels % (2 * self.side_by_side) == 0:
            self.side_by_side *= 2
        self.width, self.rows = channels * self.side_by_side, pixels // self.side_by_side
        self.normalize(mean, inverse)

    def normalize(self, mean: np.ndarray, inverse: np.ndarray) -> None:
        """Take another mean and scale for z."""
        self._mean, self._inverse = self._spread(mean), self._spread(inverse)

    def sums(self, name: str, count: int, *coefficients: np.ndarray, **tensors: Tensor) -> np.ndarray:
        """float64 [count, C]: run a kernel; what it sums up over all pixels."""
        shares = self._shares()
        parts = np.zeros((len(shares), count, self.side_by_side, self.channels))
        self._run(name, shares, parts, coefficients, tensors)
        total: np.ndarray = parts.sum(axis=(0, 2))
        return total

    def write(self, name: str, *coefficients: np.ndarray, **tensors: Tensor) -> None:
        """Run a kernel for what it writes alone."""
        shares = self._shares()
        self._run(name, shares, np.empty((len(shares), 0)), coefficients, tensors)

    def _run(
        self,
        name: str,
        shares: list[tuple[int, int]],
        sums: np.ndarray,
        coefficients: tuple[np.ndarray, ...],
        tensors: dict[str, Tensor],
    ) -> None:
        kernel, spread = self.kernels.kernel(name, self.x.dtype), self._spread(*coefficients)
        places = {which: tensor.data_ptr() for which, tensor in {"x": self.x, **tensors}.items()}
        bytes_per_row = self.width * self.x.element_size()
        works = [
            _Work(
                *(places.get(which, places["x"]) + start * bytes_per_row for which in ("x", "above", "out")),
                *(rows, self.width),
                *(array.ctypes.data for array in (self._mean, self._inverse, spread)),
                *(self.bound, part.ctypes.data),
            )
            for (start, rows), part in zip(shares, sums, strict=True)
        ]
        if len(works) == 1:
            kernel(works[0])
        else:
            list(_threads(len(works)).map(kernel, works))  # ctypes lets go of Python's lock

    def _shares(self) -> list[tuple[int, int]]:
        """First row and number of rows for every thread."""
        threads = max(1, min(torch.get_num_threads(), self.rows * self.width // _SHARE))
        edges = [self.rows * thread // threads for thread in range(threads + 1)]
        return [(start, stop - start) for start, stop in itertools.pairwise(edges)]

    def _spread(self, *vectors: np.ndarray) -> np.ndarray:
        """float32 [len(vectors), width]: coefficients of the channels, for every column."""
        return np.tile(np.asarray(vectors, dtype=np.float32).reshape(-1, self.channels), self.side_by_side)


class _Square(torch.autograd.Function):
    """a0 + a1 · z + a2 · norm(z²), z = norm(x), and Σ relu(|z| − bound)² / N. All means are over N, H and W."""

    @staticmethod
    @np.errstate(over="ignore", invalid="ignore")  # what runs away is noticed by its loss
    def forward(
        ctx: Any, x: Tensor, a0: Tensor, a1: Tensor, a2: Tensor, square: NormalizedX2act, kernels: SquareKernels
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        pixels = x.numel() // x.shape[1]
        # One of each channel's values as the shift keeps digits where the mean is far from 0.
        shift = x[0, :, 0, 0].float().numpy().astype(np.float64)
        columns = _Columns(kernels, x, shift, np.ones_like(shift), square.range_bound)
        apart, squares = columns.sums("low_powers", 2) / pixels
        mean, variance = shift + apart, np.maximum(squares - apart**2, 0.0)
        inverse = 1 / np.sqrt(variance + square.eps)
        columns.normalize(mean, inverse)
        second = variance * inverse**2
        third, fourth = columns.sums("high_powers", 2) / pixels
        spread = np.maximum(fourth - second**2, 0.0)
        slope = 1 / np.sqrt(spread + square.square_eps)
        b0, b1, b2 = (tensor.detach().double().numpy() for tensor in (a0, a1, a2))
        value = torch.empty_like(x)
        curvature = b2 * slope
        excess, *beyond = columns.sums("value", 3, b0 - curvature * second, b1, curvature, out=value)
        _note(square, mean, variance, second, spread, pixels / max(1, pixels - 1))
        ctx.save_for_backward(x)
        ctx.columns = (kernels, mean, inverse, square.range_bound)
        ctx.moments = (pixels, second, third, fourth, slope, b1, b2, *(part / pixels for part in beyond))
        ctx.set_materialize_grads(False)
        return value, torch.tensor(excess.sum() / len(x), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    @np.errstate(over="ignore", invalid="ignore")
    def backward(ctx: Any, above: Tensor | None, excess_above: Tensor | None) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        columns = _Columns(ctx.columns[0], x, *ctx.columns[1:])
        inverse = ctx.columns[2]
        pixels, m2, m3, m4, slope, a1, a2, excess_mean, excess_z = ctx.moments
        above = (
            torch.zeros_like(x) if above is None else above.to(x.dtype).contiguous(memory_format=torch.channels_last)
        )
        sums = columns.sums("gradient_sums", 3, above=above)
        g, gz, gzz = sums / pixels
        # norm(z²) is h = (z² − m2) · slope; dh of it is a2 · slope · (g − mean g − h · mean g·h).
        gh = (gzz - m2 * g) * slope
        twice, pull = 2 * a2 * slope, (0.0 if excess_above is None else float(excess_above)) * 2 / len(x)
        dz = a1 * g + twice * (gz - gh * m3 * slope) + pull * excess_mean
        dzz = a1 * gz + twice * (gzz - g * m2 - gh * (m4 - m2**2) * slope) + pull * excess_z
        linear = -twice * (g - gh * m2 * slope) - dzz
        gradient = torch.empty_like(x)
        by_power = (a1, twice, -dz, linear, -twice * gh * slope, np.full_like(a1, pull))
        columns.write("gradient", *(inverse * factor for factor in by_power), above=above, out=gradient)
        coefficients = (sums[0], sums[1], gh * pixels)
        return gradient, *(torch.from_numpy(total).float() for total in coefficients), None, None


@torch.no_grad()
def _note(
    square: NormalizedX2act,
    mean: np.ndarray,
    variance: np.ndarray,
    square_mean: np.ndarray,
    square_variance: np.ndarray,
    unbiased: float,
) -> None:
    """Move the running statistics towards those of a batch, as batch normalizations do."""
    found = (mean, variance * unbiased, square_mean, square_variance * unbiased)
    buffers = (square.input_mean, square.input_variance, square.square_mean, square.square_variance)
    for running, batch in zip(buffers, found, strict=True):
        running.lerp_(torch.from_numpy(batch).to(running.dtype), square.momentum)

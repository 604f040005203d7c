"""X2act: the trainable square polynomial that replaces ReLU (Eq. 4), in its plain form and in normalized bases.

Both are the same polynomial at inference. They differ in what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .options import RANGE_BOUND

#: Coefficients of ReLU in the normalized Hermite polynomials 1, x and (x² − 1)/√2.
RELU_HERMITE = (1 / math.sqrt(2 * math.pi), 1 / 2, 1 / math.sqrt(4 * math.pi))


class X2act(nn.Module):
    """δ(x) = k · x² + w2 · x + b (Eq. 4, k = c · w1 / sqrt(Nx)), whatever its coefficients are trained through.

    Args:
        label: the gate's label in tables and reports (`layer2.0.act1`).

    Attributes:
        range_bound: inputs beyond ± this are penalized.
        settled: in training mode too, statistics stand still and are those of inference.
        range_excess: Σ relu(|x| − range_bound)² / batch of the last forward in training mode (in normalized bases of z
            in place of x), a scalar that carries gradient; None before the first. The range loss sums it over layers.
    """

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.range_bound = RANGE_BOUND
        self.settled = False
        self.range_excess: Tensor | None = None

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """(k, w2, b) at inference: scalars, or [C, 1, 1]."""
        raise NotImplementedError

    def slow_parameters(self) -> tuple[nn.Parameter, ...]:
        """Parameters that multiply powers of x as they are: they need small steps, and no weight decay."""
        return ()

    def bound_square(self, bound: float) -> None:
        """Hold what multiplies x² as it is within ±bound; squares of normalized bases need no bound."""

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, C, H, W] -> the same shape."""
        if not self.training:
            return self.polynomial(x)
        return self.still(x) if self.settled else self.trained(x)

    def trained(self, x: Tensor) -> Tensor:
        """What is computed in training mode; notes the range excess."""
        return self.still(x)

    def still(self, x: Tensor) -> Tensor:
        """What is computed in training mode while statistics stand still; notes the range excess."""
        self.range_excess = range_excess(self.normalized(x), self.range_bound)
        return self.polynomial(x)

    def normalized(self, x: Tensor) -> Tensor:
        """What must stay within the range, by the statistics of inference."""
        return x

    def polynomial(self, x: Tensor) -> Tensor:
        """What is computed at inference."""
        k, w2, b = self.coefficients()
        return (k * x + w2) * x + b  # Eq. 4, in Horner's form

    def __getstate__(self) -> dict[str, Any]:
        # The excess belongs to one step's graph, and a tensor inside a graph cannot be copied.
        return {**self.__dict__, "range_excess": None}


class PlainX2act(X2act):
    """δ(x) = (c / sqrt(Nx)) · w1 · x² + w2 · x + b with w1, w2 and b trained as they are (Eq. 4).

    Nx is the number of elements of one sample's activation (C·H·W). STPAI starts with w1 small, w2 = 1 and b = 0: the
    network begins nearly linear.

    Args:
        label: the gate's label.
        shape: (C, H, W) of one sample's activation.
        per_channel: coefficients of shape [C, 1, 1] instead of scalars.
        c: the constant of Eq. 4; None takes sqrt(Nx), so that the factor c / sqrt(Nx) is 1.
        w1: initial value of w1.
    """

    def __init__(
        self,
        label: str,
        shape: tuple[int, int, int],
        *,
        per_channel: bool = False,
        c: float | None = None,
        w1: float = 0.05,
    ) -> None:
        super().__init__(label)
        self.scale = 1.0 if c is None else c / math.sqrt(math.prod(shape))
        size = (shape[0], 1, 1) if per_channel else ()
        self.w1 = nn.Parameter(torch.full(size, float(w1)))
        self.w2 = nn.Parameter(torch.ones(size))
        self.b = nn.Parameter(torch.zeros(size))

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        return (self.w1 if self.scale == 1.0 else self.scale * self.w1), self.w2, self.b

    def slow_parameters(self) -> tuple[nn.Parameter, ...]:
        return self.w1, self.w2, self.b

    @torch.no_grad()
    def bound_square(self, bound: float) -> None:
        self.w1.clamp_(-bound, bound)

    def extra_repr(self) -> str:
        return f"{self.label}, coefficients={tuple(self.w1.shape) or 'scalar'}, scale={self.scale:.4g}"


class NormalizedX2act(X2act):
    """δ(x) = a0 + a1 · z + a2 · norm(z²) with z = norm(x) and trained a0, a1 and a2 per channel.

    norm is a batch normalization without affine part, and norm(z²) is norm((z² − 1)/√2): a0, a1 and a2 start as the
    Hermite coefficients of ReLU (as in HerPN of AESPA: Park, Kim, Chung and Kim, 2022, which keeps their ratios and
    squares x itself). In training the statistics are the batch's. At inference the running ones make the whole an
    Eq. 4 with coefficients per channel.

    Args:
        label: the gate's label.
        channels: C.
        momentum: of the running statistics.
        eps: added to the variance of x.
        square_eps: added to the variance of z², which is 2 for normally distributed x and near 0 for two-valued x.

    Attributes:
        kernels: gives value and range excess in training mode on the CPU in torch's place, where a training sets it.
    """

    input_mean: Tensor
    input_variance: Tensor
    square_mean: Tensor
    square_variance: Tensor

    def __init__(
        self, label: str, channels: int, *, momentum: float = 0.1, eps: float = 1e-5, square_eps: float = 0.05
    ) -> None:
        super().__init__(label)
        self.momentum, self.eps, self.square_eps = momentum, eps, square_eps
        self.kernels: Callable[[NormalizedX2act, Tensor], tuple[Tensor, Tensor]] | None = None
        self.a0, self.a1, self.a2 = (nn.Parameter(torch.full((channels,), value)) for value in RELU_HERMITE)
        self.register_buffer("input_mean", torch.zeros(channels))
        self.register_buffer("input_variance", torch.ones(channels))
        self.register_buffer("square_mean", torch.ones(channels))  # of z², for normally distributed x
        self.register_buffer("square_variance", torch.full((channels,), 2.0))

    def trained(self, x: Tensor) -> Tensor:
        if self.kernels is not None and x.is_cpu:
            value, self.range_excess = self.kernels(self, x)
            return value
        z = functional.batch_norm(x, self.input_mean, self.input_variance, None, None, True, self.momentum, self.eps)
        self.range_excess = range_excess(z, self.range_bound)
        square = functional.batch_norm(
            z * z, self.square_mean, self.square_variance, self.a2, self.a0, True, self.momentum, self.square_eps
        )
        return square + z * self.a1[:, None, None].to(z.dtype)

    def normalized(self, x: Tensor) -> Tensor:
        mean, inverse = self.input_mean, (self.input_variance + self.eps).rsqrt()
        return (x - mean[:, None, None]) * inverse[:, None, None]

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        # (x − μ)/σ in a0 + a1 · z + a2 · (z² − m)/τ, by powers of x.
        mean, inverse = self.input_mean, (self.input_variance + self.eps).rsqrt()
        curvature = self.a2 * (self.square_variance + self.square_eps).rsqrt()
        k = curvature * inverse.square()
        w2 = self.a1 * inverse - 2 * k * mean
        b = self.a0 - self.a1 * inverse * mean + k * mean.square() - curvature * self.square_mean
        return k[:, None, None], w2[:, None, None], b[:, None, None]

    def extra_repr(self) -> str:
        return f"{self.label}, channels={len(self.a0)}, normalized"


def range_excess(x: Tensor, bound: float = RANGE_BOUND) -> Tensor:
    """Σ relu(|x| − bound)² / batch: how far activations leave the range that is safe for squaring."""
    if x.device.type == "cpu":
        # Many steps have nothing outside; one pass over the data finds that out.
        low, high = torch.aminmax(x.detach())
        if low >= -bound and high <= bound:
            return x.new_zeros(())
    excess = functional.softshrink(x, bound)  # sign(x) · relu(|x| − bound) in one pass
    return excess.square().sum() / x.shape[0]


def x2act_modules(network: nn.Module) -> Iterator[X2act]:
    """Every X2act of a network or supernet, in the order of its modules."""
    return (module for module in network.modules() if isinstance(module, X2act))

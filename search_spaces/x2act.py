"""X2act: the trainable square polynomial that replaces ReLU (Eq. 4), initialized straight through (STPAI)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Inputs of an X2act beyond ±RANGE_BOUND are penalized: outside of it x(1 + a·x) starts to double from layer to layer.
RANGE_BOUND = 8.0


class X2act(nn.Module):
    """δ(x) = (c / sqrt(Nx)) · w1 · x² + w2 · x + b (Eq. 4).

    Nx is the number of elements of one sample's activation (C·H·W). STPAI starts with w1 small, w2 = 1 and b = 0: the
    network begins nearly linear.

    Args:
        label: the gate's label in tables and reports (`layer2.0.act1`).
        shape: (C, H, W) of one sample's activation.
        per_channel: coefficients of shape [C, 1, 1] instead of scalars.
        c: the constant of Eq. 4; None takes sqrt(Nx), so that the factor c / sqrt(Nx) is 1.
        w1: initial value of w1.

    Attributes:
        range_excess: Σ relu(|x| − 8)² / batch of the last forward in training mode, a scalar that carries gradient;
            None before the first. The range loss sums it over the layers.
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
        super().__init__()
        self.label = label
        self.scale = 1.0 if c is None else c / math.sqrt(math.prod(shape))
        size = (shape[0], 1, 1) if per_channel else ()
        self.w1 = nn.Parameter(torch.full(size, float(w1)))
        self.w2 = nn.Parameter(torch.ones(size))
        self.b = nn.Parameter(torch.zeros(size))
        self.range_excess: Tensor | None = None

    @property
    def square_coefficient(self) -> Tensor:
        """k = c · w1 / sqrt(Nx), the factor of x²: a scalar or [C, 1, 1]."""
        return self.w1 if self.scale == 1.0 else self.scale * self.w1

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, C, H, W] -> the same shape."""
        if self.training:
            self.range_excess = range_excess(x)
        return (self.square_coefficient * x + self.w2) * x + self.b  # Eq. 4, in Horner's form

    def extra_repr(self) -> str:
        return f"{self.label}, coefficients={tuple(self.w1.shape) or 'scalar'}, scale={self.scale:.4g}"

    def __getstate__(self) -> dict[str, Any]:
        # The excess belongs to one step's graph, and a tensor inside a graph cannot be copied.
        return {**self.__dict__, "range_excess": None}


def range_excess(x: Tensor) -> Tensor:
    """Σ relu(|x| − RANGE_BOUND)² / batch: how far activations leave the range that is safe for squaring."""
    if x.device.type == "cpu":
        # Nearly every step has nothing outside; one pass over the data finds that out.
        low, high = torch.aminmax(x.detach())
        if low >= -RANGE_BOUND and high <= RANGE_BOUND:
            return x.new_zeros(())
    return (x.abs() - RANGE_BOUND).relu().square().sum() / x.shape[0]


def x2act_modules(network: nn.Module) -> Iterator[X2act]:
    """Every X2act of a network or supernet, in the order of its modules."""
    return (module for module in network.modules() if isinstance(module, X2act))

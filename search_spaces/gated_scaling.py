"""Layers that multiply by a gate: h-swish and squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import GlobalPool, Relu

SHIFT, CEILING = 3.0, 6.0


class Multiply(nn.Module):
    """factor * x as a module, so that operators can be listed in forward order; the factor may be one per channel."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, factor: Tensor, x: Tensor) -> Tensor:
        return factor * x


class ShiftedClip(nn.Module):
    """min(max(x + 3, 0), 6): two comparisons per element in 2PC."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu6(x + SHIFT)


class SwishClip(ShiftedClip):
    """That of h-swish, which is relu(x) and a square of min(|x|, 3) in 2PC: comparisons one after the other."""


class SwishProduct(Multiply):
    """That of h-swish, which is a square in 2PC."""


class HardSwish(nn.Module):
    """x * min(max(x + 3, 0), 6) / 6."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.gate, self.product = SwishClip(f"{label}.gate"), SwishProduct(f"{label}.product")

    def forward(self, x: Tensor) -> Tensor:
        return self.product(self.gate(x), x) / CEILING


class LabelledConv(nn.Conv2d):
    """A pointwise convolution with bias under its label."""

    def __init__(self, label: str, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)
        self.label = label


class SqueezeExcitation(nn.Module):
    """Every channel times a hard sigmoid of two layers on all channels' means (Hu et al., as MobileNetV3 has it)."""

    def __init__(self, label: str, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = GlobalPool(f"{label}.pool")
        self.squeeze = LabelledConv(f"{label}.squeeze", channels, squeezed)
        self.act = Relu(f"{label}.act")
        self.excite = LabelledConv(f"{label}.excite", squeezed, channels)
        self.gate, self.product = ShiftedClip(f"{label}.gate"), Multiply(f"{label}.product")

    def forward(self, x: Tensor) -> Tensor:
        factors: Tensor = self.gate(self.excite(self.act(self.squeeze(self.pool(x)))))
        return torch.as_tensor(self.product(factors / CEILING, x))

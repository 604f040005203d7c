"""A ReLU whose comparisons neighbours share: x · [mean of its patch of 2 x 2 pixels > 0] (as Block-ReLU)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

PATCH = 2


class Relu2x2(nn.Module):
    """x where the mean of its patch is above 0, else 0: one comparison for four elements in 2PC.

    The step has no gradient; in the backward pass it counts as a ramp from −1 to 1 (straight-through). Patches at the
    lower and right edge of odd images are smaller.

    Args:
        label: the gate's label.
    """

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, C, H, W] -> the same shape."""
        mean = functional.avg_pool2d(x, PATCH, ceil_mode=True, count_include_pad=False)
        mask = (mean > 0).to(x.dtype)
        if self.training:
            ramp = (0.5 * mean + 0.5).clamp(0, 1)
            mask = mask + ramp - ramp.detach()
        spread = functional.interpolate(mask, scale_factor=PATCH, mode="nearest")
        return x * spread[..., : x.shape[2], : x.shape[3]]

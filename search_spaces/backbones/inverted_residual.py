"""The inverted residual, the block of the MobileNets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..gates import Gates
from ..layers import ConvNorm, ConvPlan, ResidualAdd, Shape


class InvertedResidual(nn.Module):
    """1x1 expansion and depthwise convolution, both activated, and a linear 1x1 projection; shortcut where it fits.

    Without expansion (`expanded` equal to the input's channels) the first convolution is absent.
    """

    def __init__(
        self, name: str, gates: Gates, shape: Shape, outputs: int, kernel: int, stride: int, expanded: int
    ) -> None:
        super().__init__()
        self.expand: nn.Module = nn.Identity()
        inner: Shape = (expanded, *shape[1:])
        if expanded != shape[0]:
            expand = ConvPlan(f"{name}.expand", shape[0], expanded, 1)
            self.expand = gates.conv_act(f"{name}.expand_act", expand, inner)
        depthwise = ConvPlan(f"{name}.depthwise", expanded, expanded, kernel, stride, expanded)
        inner = depthwise.output_shape(inner)
        self.depthwise = gates.conv_act(f"{name}.depthwise_act", depthwise, inner)
        self.project = ConvNorm(ConvPlan(f"{name}.project", expanded, outputs, 1))
        self.output_shape: Shape = (outputs, *inner[1:])
        self.add = ResidualAdd(f"{name}.add") if shape == self.output_shape else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return y if self.add is None else self.add(y, x)


def last_of_each_resolution(blocks: Sequence[nn.Module]) -> tuple[str, ...]:
    """Paths, within a network that calls them `blocks`, of the last block at every resolution."""
    sizes = [block.output_shape[1:] for block in blocks if isinstance(block, InvertedResidual)]
    return tuple(f"blocks.{index}" for index, size in enumerate(sizes) if [*sizes, None][index + 1] != size)

"""The inverted residual, the block of the MobileNets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..gated_scaling import HardSwish, SqueezeExcitation
from ..gates import Gates
from ..layers import ConvNorm, ConvPlan, ResidualAdd, Shape, Unit


class InvertedResidual(nn.Module):
    """1x1 expansion and depthwise convolution, both activated, and a linear 1x1 projection; shortcut where it fits.

    Without expansion (`expanded` equal to the input's channels) the first convolution is absent. With `hard_swish` the
    activations are h-swish instead of gates; `squeezed` channels are inside of a squeeze-and-excitation, if any.
    """

    def __init__(
        self,
        name: str,
        gates: Gates,
        shape: Shape,
        outputs: int,
        kernel: int,
        stride: int,
        expanded: int,
        hard_swish: bool = False,
        squeezed: int = 0,
    ) -> None:
        super().__init__()
        self.expand: nn.Module = nn.Identity()
        inner: Shape = (expanded, *shape[1:])
        if expanded != shape[0]:
            expand = ConvPlan(f"{name}.expand", shape[0], expanded, 1)
            self.expand = activated(gates, f"{name}.expand_act", expand, inner, hard_swish)
        depthwise = ConvPlan(f"{name}.depthwise", expanded, expanded, kernel, stride, expanded)
        inner = depthwise.output_shape(inner)
        self.depthwise = activated(gates, f"{name}.depthwise_act", depthwise, inner, hard_swish)
        self.scale = SqueezeExcitation(f"{name}.se", expanded, squeezed) if squeezed else None
        self.project = ConvNorm(ConvPlan(f"{name}.project", expanded, outputs, 1))
        self.output_shape: Shape = (outputs, *inner[1:])
        self.add = ResidualAdd(f"{name}.add") if shape == self.output_shape else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        y = self.project(y if self.scale is None else self.scale(y))
        return y if self.add is None else self.add(y, x)


def activated(gates: Gates, label: str, plan: ConvPlan, shape: Shape, hard_swish: bool) -> nn.Module:
    """A convolution with a gated activation, or with h-swish."""
    return Unit(ConvNorm(plan), HardSwish(label)) if hard_swish else gates.conv_act(label, plan, shape)


def last_of_each_resolution(blocks: Sequence[nn.Module]) -> tuple[str, ...]:
    """Paths, within a network that calls them `blocks`, of the last block at every resolution."""
    sizes = [block.output_shape[1:] for block in blocks if isinstance(block, InvertedResidual)]
    return tuple(f"blocks.{index}" for index, size in enumerate(sizes) if [*sizes, None][index + 1] != size)

"""The layers that backbones are made of: torch's own, with the label that tables and reports show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rrnet_nni.base.compatibility import strided_depthwise, subsampled

#: (channels, height, width) of one sample.
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ConvPlan:
    """A convolution to be made: without bias, padded by kernel // 2, batch-normalized."""

    label: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of (C, H, W)."""
        height, width = (window_output(size, self.kernel, self.stride, self.kernel // 2) for size in shape[1:])
        return self.outputs, height, width


def window_output(size: int, kernel: int, stride: int, padding: int) -> int:
    """Length of a convolution's or pooling's output along one axis."""
    return (size + 2 * padding - kernel) // stride + 1


class Convolution(nn.Conv2d):
    """A convolution without bias under the label of its layer."""

    def __init__(self, plan: ConvPlan) -> None:
        super().__init__(
            plan.inputs, plan.outputs, plan.kernel, plan.stride, plan.kernel // 2, groups=plan.groups, bias=False
        )
        self.label = plan.label
        self._strided_pointwise = plan.kernel == 1 and plan.stride > 1
        self._strided_depthwise = plan.groups == plan.inputs > 1 and plan.stride > 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self._strided_pointwise:
            return functional.conv2d(subsampled(x, (self.stride[0], self.stride[1])), self.weight, groups=self.groups)
        if self.training and self._strided_depthwise and x.device.type == "cpu":
            return strided_depthwise(x, self)
        return super().forward(x)


class ConvNorm(nn.Module):
    """Convolution and batch normalization; at inference the second folds into the first."""

    def __init__(self, plan: ConvPlan) -> None:
        super().__init__()
        self.conv = Convolution(plan)
        self.norm = nn.BatchNorm2d(plan.outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Relu(nn.ReLU):
    """ReLU under its gate's label: one comparison per element in 2PC."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label


class Identity(nn.Identity):
    """No activation under its gate's label: free."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label


class MaxPool(nn.MaxPool2d):
    """Max pooling under its gate's label: kernel² − 1 comparisons per output in 2PC."""

    def __init__(self, label: str, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__(kernel, stride, padding)
        self.label = label


class AvgPool(nn.AvgPool2d):
    """Average pooling under its gate's label: local in 2PC.

    Padding counts in the average, so that every output has the same factor 1 / kernel².
    """

    def __init__(self, label: str, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__(kernel, stride, padding, count_include_pad=True)
        self.label = label


class ResidualAdd(nn.Module):
    """The addition of a shortcut, as a module so that operators can be listed in forward order."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return x + shortcut


class GlobalPool(nn.AdaptiveAvgPool2d):
    """The mean over height and width."""

    def __init__(self, label: str) -> None:
        super().__init__(1)
        self.label = label


class Classifier(nn.Module):
    """Global pooling, where anything is left to pool, and one linear layer: [N, C, H, W] -> logits [N, classes]."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.pool: nn.Module = GlobalPool("pool") if shape[1:] != (1, 1) else nn.Identity()
        self.linear = LabelledLinear("classifier", shape[0], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flatten(self.pool(x), 1))


class LabelledLinear(nn.Linear):
    """A fully connected layer under its label."""

    def __init__(self, label: str, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.label = label


class Unit(nn.Module):
    """Conv-Act or Conv-Act-Pool, the block that Sec. III-B gates."""

    def __init__(self, conv: ConvNorm, act: nn.Module, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.act = act
        self.pool = pool if pool is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.act(self.conv(x)))


class ResidualUnit(nn.Module):
    """Conv, addition of the shortcut, Act: the end of a residual block. Takes (x, shortcut)."""

    def __init__(self, conv: ConvNorm, act: nn.Module, add_label: str) -> None:
        super().__init__()
        self.conv = conv
        self.add = ResidualAdd(add_label)
        self.act = act

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        x, shortcut = inputs
        return self.act(self.add(self.conv(x), shortcut))

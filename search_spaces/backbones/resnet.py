"""Residual networks: ResNet-18/34/50 of the paper, and the small ResNet-8/20 for laptops.

`pool` stem: 3x3 stride-1 convolution, then 3x3 stride-2 pooling (the paper's CIFAR networks). `plain`: no pooling.
`imagenet`: 7x7 stride-2 convolution, then the pooling. Bottlenecks stride in their 3x3 convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..gates import Gates, Pooling
from ..layers import Classifier, ConvNorm, ConvPlan, Shape
from ..options import SpaceOptions


@dataclass(frozen=True)
class ResNetPlan:
    """Blocks per stage, channels per stage, and whether blocks are bottlenecks (which widen four times)."""

    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    bottleneck: bool = False


PLANS = {
    "resnet8": ResNetPlan((1, 1, 1), (16, 32, 64)),
    "resnet20": ResNetPlan((3, 3, 3), (16, 32, 64)),
    "resnet18": ResNetPlan((2, 2, 2, 2), (64, 128, 256, 512)),
    "resnet34": ResNetPlan((3, 4, 6, 3), (64, 128, 256, 512)),
    "resnet50": ResNetPlan((3, 4, 6, 3), (64, 128, 256, 512), bottleneck=True),
}


class ResNet(ModelSpace):
    """A residual network with gated activations and a gated stem pooling."""

    def __init__(self, name: str, options: SpaceOptions) -> None:
        super().__init__()
        gates, blocks = Gates(options), PLANS[name]
        kernel, stride = (7, 2) if options.stem == "imagenet" else (3, 1)
        width = options.scaled(blocks.channels[0])
        plan = ConvPlan("stem.conv", options.channels, width, kernel, stride)
        shape = plan.output_shape((options.channels, options.image_size, options.image_size))
        if options.stem == "plain":
            self.stem = gates.conv_act("stem.act", plan, shape)
        else:
            pooling = Pooling("stem.pool", kernel=3, stride=2, padding=1)
            self.stem = gates.conv_act_pool("stem.act", plan, shape, pooling)
            shape = pooling.output_shape(shape)
        self.stages = nn.ModuleDict()
        for stage, (count, channels) in enumerate(zip(blocks.blocks, blocks.channels), start=1):
            layers: list[nn.Module] = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                kind = Bottleneck if blocks.bottleneck else BasicBlock
                block = kind(f"layer{stage}.{index}", gates, shape, options.scaled(channels), stride)
                layers.append(block)
                shape = block.output_shape
            self.stages[f"layer{stage}"] = nn.Sequential(*layers)
        self.stage_paths = tuple(f"stages.{name}" for name in self.stages)
        self.classifier = Classifier(shape, options.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: normalized images float [N, C, H, W] -> logits [N, classes]."""
        x = self.stem(x)
        for stage in self.stages.values():
            x = stage(x)
        return self.classifier(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, name: str, gates: Gates, shape: Shape, channels: int, stride: int) -> None:
        super().__init__()
        first = ConvPlan(f"{name}.conv1", shape[0], channels, 3, stride)
        self.output_shape = first.output_shape(shape)
        self.unit1 = gates.conv_act(f"{name}.act1", first, self.output_shape)
        second = ConvPlan(f"{name}.conv2", channels, channels, 3)
        self.unit2 = gates.residual_act(f"{name}.act2", f"{name}.add", second, self.output_shape)
        self.shortcut = _shortcut(name, shape, self.output_shape, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.unit2((self.unit1(x), self.shortcut(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided) and 1x1 convolutions around a shortcut; the output has four times the channels."""

    def __init__(self, name: str, gates: Gates, shape: Shape, channels: int, stride: int) -> None:
        super().__init__()
        reduce = ConvPlan(f"{name}.conv1", shape[0], channels, 1)
        inner = (channels, *shape[1:])
        self.unit1 = gates.conv_act(f"{name}.act1", reduce, inner)
        spatial = ConvPlan(f"{name}.conv2", channels, channels, 3, stride)
        inner = spatial.output_shape(inner)
        self.unit2 = gates.conv_act(f"{name}.act2", spatial, inner)
        self.output_shape: Shape = (4 * channels, *inner[1:])
        expand = ConvPlan(f"{name}.conv3", channels, 4 * channels, 1)
        self.unit3 = gates.residual_act(f"{name}.act3", f"{name}.add", expand, self.output_shape)
        self.shortcut = _shortcut(name, shape, self.output_shape, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.unit3((self.unit2(self.unit1(x)), self.shortcut(x)))


def _shortcut(name: str, shape: Shape, output_shape: Shape, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1x1 convolution."""
    if shape == output_shape:
        return nn.Identity()
    return ConvNorm(ConvPlan(f"{name}.shortcut", shape[0], output_shape[0], 1, stride))

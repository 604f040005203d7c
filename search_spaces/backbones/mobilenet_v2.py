"""MobileNetV2: inverted residuals whose expanding and depthwise activations are gated; one comparison per activation.

The `plain` stem and its strides are the paper's CIFAR network, `imagenet` the original one. ReLU6 becomes ReLU: its
upper bound would cost a second comparison per element. There is no pooling to gate.
"""

from __future__ import annotations

from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..gates import Gates
from ..layers import Classifier, ConvPlan
from ..options import SpaceOptions
from .inverted_residual import InvertedResidual, last_of_each_resolution

#: (expansion, channels, blocks) of the seven stages.
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
#: Strides of the stem and of the seven stages.
STRIDES = {"plain": (1, 1, 1, 2, 2, 1, 2, 1), "imagenet": (2, 1, 2, 2, 2, 1, 2, 1)}
LAST_CHANNELS = 1280
DIVISOR = 8


class MobileNetV2(ModelSpace):
    """A stem, seventeen inverted residuals, a 1x1 convolution to 1280 channels and the classifier."""

    def __init__(self, options: SpaceOptions) -> None:
        super().__init__()
        gates, strides = Gates(options), STRIDES[str(options.stem)]
        stem = ConvPlan("stem.conv", options.channels, options.scaled(32, DIVISOR), 3, strides[0])
        shape = stem.output_shape((options.channels, options.image_size, options.image_size))
        self.stem = gates.conv_act("stem.act", stem, shape)
        blocks: list[nn.Module] = []
        for (expansion, channels, count), stage_stride in zip(STAGES, strides[1:]):
            for index in range(count):
                stride = stage_stride if index == 0 else 1
                outputs = options.scaled(channels, DIVISOR)
                block = InvertedResidual(
                    f"blocks.{len(blocks)}",
                    gates,
                    shape,
                    outputs,
                    kernel=3,
                    stride=stride,
                    expanded=shape[0] * expansion,
                )
                blocks.append(block)
                shape = block.output_shape
        self.blocks = nn.Sequential(*blocks)
        self.stage_paths = last_of_each_resolution(blocks)
        head = ConvPlan("head.conv", shape[0], options.scaled(LAST_CHANNELS, DIVISOR), 1)
        shape = head.output_shape(shape)
        self.head = gates.conv_act("head.act", head, shape)
        self.classifier = Classifier(shape, options.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: normalized images float [N, C, H, W] -> logits [N, classes]."""
        return self.classifier(self.head(self.blocks(self.stem(x))))

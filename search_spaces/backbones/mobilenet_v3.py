"""MobileNetV3 large and small with gated activations, without squeeze-and-excitation.

h-swish, x · relu6(x + 3) / 6, would cost two comparisons and a general product per element: wherever the original has
h-swish or ReLU, the space has the gate of ReLU and X2act, one comparison or none.

Squeeze-and-excitation is left out. It scales every channel by a number that depends on the secret image: a product of
two secret tensors and, for its hard sigmoid, two more comparisons per channel, in sequence with everything else. The
operators that the paper searches over and the two parties execute have no such product (a convolution's weights and a
square's two factors are simpler), and the kinds of choices to be searched stay the same without it.

`plain` stem: the stem and the first strided block keep the resolution, for images of 32 pixels. `imagenet`: the
original strides. There is no pooling to gate.
"""

from __future__ import annotations

from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..gates import Gates
from ..layers import Classifier, ConvPlan, GlobalPool
from ..options import SpaceOptions
from .inverted_residual import InvertedResidual, last_of_each_resolution

DIVISOR = 8
STEM_CHANNELS = 16
#: (kernel, expanded channels, output channels, stride) of every block.
BLOCKS = {
    "mobilenet_v3_large": (
        (3, 16, 16, 1),
        (3, 64, 24, 2),
        (3, 72, 24, 1),
        (5, 72, 40, 2),
        (5, 120, 40, 1),
        (5, 120, 40, 1),
        (3, 240, 80, 2),
        (3, 200, 80, 1),
        (3, 184, 80, 1),
        (3, 184, 80, 1),
        (3, 480, 112, 1),
        (3, 672, 112, 1),
        (5, 672, 160, 2),
        (5, 960, 160, 1),
        (5, 960, 160, 1),
    ),
    "mobilenet_v3_small": (
        (3, 16, 16, 2),
        (3, 72, 24, 2),
        (3, 88, 24, 1),
        (5, 96, 40, 2),
        (5, 240, 40, 1),
        (5, 240, 40, 1),
        (5, 120, 48, 1),
        (5, 144, 48, 1),
        (5, 288, 96, 2),
        (5, 576, 96, 1),
        (5, 576, 96, 1),
    ),
}
#: Channels of the last convolution and of the hidden layer behind the global pooling.
HEADS = {"mobilenet_v3_large": (960, 1280), "mobilenet_v3_small": (576, 1024)}


class MobileNetV3(ModelSpace):
    """A stem, inverted residuals, a 1x1 convolution, global pooling, a hidden layer and the classifier.

    The hidden layer is a 1x1 convolution with batch normalization on the pooled image.
    """

    def __init__(self, name: str, options: SpaceOptions) -> None:
        super().__init__()
        gates, plain = Gates(options), options.stem == "plain"
        width = options.scaled(STEM_CHANNELS, DIVISOR)
        stem = ConvPlan("stem.conv", options.channels, width, 3, 1 if plain else 2)
        shape = stem.output_shape((options.channels, options.image_size, options.image_size))
        self.stem = gates.conv_act("stem.act", stem, shape)
        blocks: list[nn.Module] = []
        kept = not plain
        for kernel, expanded, channels, stride in BLOCKS[name]:
            if stride > 1 and not kept:
                stride, kept = 1, True
            outputs, expanded = options.scaled(channels, DIVISOR), options.scaled(expanded, DIVISOR)
            block = InvertedResidual(f"blocks.{len(blocks)}", gates, shape, outputs, kernel, stride, expanded)
            blocks.append(block)
            shape = block.output_shape
        self.blocks = nn.Sequential(*blocks)
        self.stage_paths = last_of_each_resolution(blocks)
        last, hidden = (options.scaled(channels, DIVISOR) for channels in HEADS[name])
        head = ConvPlan("head.conv", shape[0], last, 1)
        self.head = gates.conv_act("head.act", head, head.output_shape(shape))
        self.pool = GlobalPool("pool")
        self.hidden = gates.conv_act("hidden.act", ConvPlan("hidden.conv", last, hidden, 1), (hidden, 1, 1))
        self.classifier = Classifier((hidden, 1, 1), options.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: normalized images float [N, C, H, W] -> logits [N, classes]."""
        x = self.pool(self.head(self.blocks(self.stem(x))))
        return self.classifier(self.hidden(x))

"""MobileNetV3 large and small: with gated activations alone, or as published.

`mobilenet_v3_large` and `mobilenet_v3_small` have the gate of ReLU and X2act, one comparison or none, wherever the
original has h-swish or ReLU, and no squeeze-and-excitation: the operators that the paper searches over and no other.

`mobilenet_v3_large_se` and `mobilenet_v3_small_se` keep both. h-swish, x · relu6(x + 3) / 6, costs two comparisons and
a product of two secret tensors per element; squeeze-and-excitation scales every channel by a number that depends on
the secret image, with two comparisons per channel. Only what is ReLU in the original outside of it is gated.

`plain` stem: the stem and the first strided block keep the resolution, for images of 32 pixels. `imagenet`: the
original strides. There is no pooling to gate.
"""

from __future__ import annotations

from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..gates import Gates
from ..layers import Classifier, ConvPlan, GlobalPool
from ..options import SpaceOptions
from .inverted_residual import InvertedResidual, activated, last_of_each_resolution

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


#: What is told apart as published: blocks with h-swish, and blocks with squeeze-and-excitation.
HARD_SWISH = {"mobilenet_v3_large": range(6, 15), "mobilenet_v3_small": range(3, 11)}
SQUEEZED = {"mobilenet_v3_large": (3, 4, 5, 10, 11, 12, 13, 14), "mobilenet_v3_small": (0, 3, 4, 5, 6, 7, 8, 9, 10)}
#: Ending of the names of the networks as published.
PUBLISHED = "_se"


class MobileNetV3(ModelSpace):
    """A stem, inverted residuals, a 1x1 convolution, global pooling, a hidden layer and the classifier.

    The hidden layer is a 1x1 convolution with batch normalization on the pooled image.
    """

    def __init__(self, name: str, options: SpaceOptions) -> None:
        super().__init__()
        gates, plain, published = Gates(options), options.stem == "plain", name.endswith(PUBLISHED)
        name = name.removesuffix(PUBLISHED)
        width = options.scaled(STEM_CHANNELS, DIVISOR)
        stem = ConvPlan("stem.conv", options.channels, width, 3, 1 if plain else 2)
        shape = stem.output_shape((options.channels, options.image_size, options.image_size))
        self.stem = activated(gates, "stem.act", stem, shape, published)
        blocks: list[nn.Module] = []
        kept = not plain
        for place, (kernel, expanded, channels, stride) in enumerate(BLOCKS[name]):
            if stride > 1 and not kept:
                stride, kept = 1, True
            outputs, expanded = options.scaled(channels, DIVISOR), options.scaled(expanded, DIVISOR)
            hard_swish = published and place in HARD_SWISH[name]
            squeezed = _squeezed(expanded) if published and place in SQUEEZED[name] else 0
            geometry = kernel, stride, expanded
            block = InvertedResidual(f"blocks.{place}", gates, shape, outputs, *geometry, hard_swish, squeezed)
            blocks.append(block)
            shape = block.output_shape
        self.blocks = nn.Sequential(*blocks)
        self.stage_paths = last_of_each_resolution(blocks)
        last, hidden = (options.scaled(channels, DIVISOR) for channels in HEADS[name])
        head = ConvPlan("head.conv", shape[0], last, 1)
        self.head = activated(gates, "head.act", head, head.output_shape(shape), published)
        self.pool = GlobalPool("pool")
        plan = ConvPlan("hidden.conv", last, hidden, 1)
        self.hidden = activated(gates, "hidden.act", plan, (hidden, 1, 1), published)
        self.classifier = Classifier((hidden, 1, 1), options.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: normalized images float [N, C, H, W] -> logits [N, classes]."""
        x = self.pool(self.head(self.blocks(self.stem(x))))
        return self.classifier(self.hidden(x))


def _squeezed(expanded: int) -> int:
    """A quarter of the channels, as a multiple of eight."""
    quarter = expanded // 4
    rounded = max(DIVISOR, (quarter + DIVISOR // 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * quarter else rounded

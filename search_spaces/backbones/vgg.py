"""VGG-16 with batch normalization and one linear layer, as the paper's CIFAR network."""

from __future__ import annotations

from itertools import accumulate

from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from rrnet_nni.base.errors import Refusal

from ..gates import Gates, Pooling
from ..layers import Classifier, ConvPlan, Shape
from ..options import SpaceOptions

#: (convolutions, channels) of the five stages; each ends in a 2x2 pooling.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class VGG16(ModelSpace):
    """Thirteen 3x3 convolutions in five stages with gated activations and gated 2x2 poolings."""

    def __init__(self, options: SpaceOptions) -> None:
        super().__init__()
        if options.image_size < 2 ** len(STAGES):
            raise Refusal(
                f"image_size {options.image_size} is too small for vgg16, which halves it five times: take at least 32"
            )
        gates = Gates(options)
        shape: Shape = (options.channels, options.image_size, options.image_size)
        units: list[nn.Module] = []
        for stage, (count, channels) in enumerate(STAGES, start=1):
            for index in range(count):
                plan = ConvPlan(f"stage{stage}.conv{index + 1}", shape[0], options.scaled(channels), 3)
                shape = plan.output_shape(shape)
                label = f"stage{stage}.act{index + 1}"
                if index < count - 1:
                    units.append(gates.conv_act(label, plan, shape))
                else:
                    pooling = Pooling(f"stage{stage}.pool", kernel=2, stride=2)
                    units.append(gates.conv_act_pool(label, plan, shape, pooling))
                    shape = pooling.output_shape(shape)
        self.features = nn.Sequential(*units)
        self.stage_paths = tuple(f"features.{end - 1}" for end in accumulate(count for count, _ in STAGES))
        self.classifier = Classifier(shape, options.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: normalized images float [N, C, H, W] -> logits [N, classes]."""
        return self.classifier(self.features(x))

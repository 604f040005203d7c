"""ResNet-8 for the digits, all-ReLU or all-polynomial."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

SPACE = SpaceOptions(image_size=16, channels=1, width=0.5)
PLAIN_SPACE = replace(SPACE, x2act="plain")
POLYNOMIAL = ("x2act", "avgpool")
RELU = ("relu", "maxpool")


def network(kind: tuple[str, str], seed: int = 0, space: SpaceOptions = SPACE) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("resnet8", space, fixed_choices("resnet8", space, *kind))

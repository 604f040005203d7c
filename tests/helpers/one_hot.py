"""The supernet of a search as it is when every gate is decided."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from nni.nas.nn.pytorch import ModelSpace
from torch import nn

from rrnet_nni.strategies import RRNetDARTS


def one_hot_supernet(space: ModelSpace, choices: Mapping[str, str]) -> nn.Module:
    """The supernet of the search with α so far apart that θ is one-hot in float32."""
    strategy = RRNetDARTS()
    supernet = strategy.mutate_model(space)
    for module in supernet.modules():
        alpha = getattr(module, "_arch_alpha", None)
        if alpha is not None:
            with torch.no_grad():
                alpha.fill_(-200.0)[list(module.names).index(choices[module.label])] = 200.0
    return supernet

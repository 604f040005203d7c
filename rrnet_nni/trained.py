"""A trained network's weights on disk, and the network again from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import whole_file
from rrnet_nni.search_spaces import build_network

from .architecture import Architecture


def save_weights(network: nn.Module, path: Path) -> None:
    """The state dict, whole or not at all."""
    with whole_file(path) as unfinished:
        torch.save(network.state_dict(), unfinished)


def load_trained(architecture: Architecture, weights: Path) -> nn.Module:
    """The frozen network with its trained weights, in eval mode.

    Raises:
        Refusal: the file is missing or belongs to another network.
    """
    network = build_network(architecture.backbone, architecture.space(), architecture.choices)
    try:
        state: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except FileNotFoundError:
        raise Refusal(f"{weights}: there is no such file; rrnet train writes it") from None
    except Exception as error:
        raise Refusal(f"{weights}: not the weights of this architecture ({type(error).__name__})") from error
    return network.eval()

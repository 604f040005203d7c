"""A trained network's weights on disk, and the network again from them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import whole_file
from rrnet_nni.base.tensor_file import UnreadableTensors, read_tensors
from rrnet_nni.search_spaces import build_network

from .architecture import Architecture


def save_weights(network: nn.Module, path: Path) -> None:
    """The state dict, whole or not at all."""
    with whole_file(path) as unfinished:
        torch.save(network.state_dict(), unfinished)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a network, as `save_weights` wrote it.

    Raises:
        Refusal: the file is missing, damaged or something else.
    """
    try:
        weights = read_tensors(path)
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file; rrnet train writes it") from None
    except UnreadableTensors as error:
        raise Refusal(f"{path}: not a file of weights, or damaged ({error})") from None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise Refusal(f"{path}: not a file of weights (no mapping of names to tensors)")
    return weights


def load_trained(architecture: Architecture, weights: Path) -> nn.Module:
    """The frozen network with its trained weights, in eval mode.

    Raises:
        Refusal: the file is missing, damaged, or belongs to another network.
    """
    network = build_network(architecture.backbone, architecture.space(), architecture.choices)
    try:
        network.load_state_dict(read_weights(weights))
    except RuntimeError as error:  # torch's list of every name and shape that differs
        raise Refusal(f"{weights}: not the weights of this architecture") from error
    return network.eval()

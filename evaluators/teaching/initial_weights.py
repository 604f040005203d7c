"""Starting a network from the weights of another: a polynomial network from its trained all-ReLU form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor, nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.search_spaces import x2act_modules


def load_initial_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a network of the same backbone and options, whatever its activations and poolings.

    `network` may be a space whose candidates share their convolutions.

    Coefficients of X2act that the other network has not keep their initialization, and those that only it has are
    left out: a square starts near the identity where a ReLU was.

    Raises:
        Refusal: the weights belong to another backbone or other options.
    """
    own = network.state_dict()
    squares = set(x2act_modules(network))
    optional = {
        f"{path}.{name}"
        for path, module in network.named_modules()
        if module in squares
        for name in module.state_dict()
    }
    for name, tensor in own.items():
        if name not in weights and name not in optional:
            raise Refusal(f"the initial weights have no {name}: they belong to another backbone or other options")
        if name in weights and weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
            raise Refusal(f"the initial weights have {name} of shape {shapes}: they belong to other options")
    network.load_state_dict({name: weights.get(name, tensor) for name, tensor in own.items()})


def weights_hash(weights: Mapping[str, Tensor] | None) -> str | None:
    """SHA-256 of a state dict: names, types, shapes and values."""
    if weights is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

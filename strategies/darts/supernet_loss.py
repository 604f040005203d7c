"""ζ(ω, α) of a supernet as a function of ω that changes nothing: no weight, no running statistic, no random state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.func import functional_call

from rrnet_nni.base.errors import Refusal

Batch = tuple[Tensor, Tensor]
Criterion = Callable[[Tensor, Tensor], Tensor]


class SupernetLoss:
    """The classification loss of one batch at any weights.

    Names are read off the model once, because walking its modules costs as much as a small layer: make another object
    when the model changes its structure or its device.

    Args:
        model: the supernet; α stays in it, so that gradients with respect to α flow by themselves.
        criterion: (logits [N, classes], labels [N]) -> scalar loss, without side effects.
        alphas: the tensors of α.

    Attributes:
        weights: ω, every parameter of the supernet but α, by name; a parameter with several names has the first.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, alphas: Iterable[Tensor] = ()) -> None:
        self.model = model
        self.criterion = criterion
        architecture = {id(alpha) for alpha in alphas}
        self.weights: dict[str, nn.Parameter] = {}
        self._aliases: dict[str, str] = {}
        first: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if id(parameter) in first:
                self._aliases[name] = first[id(parameter)]
            elif id(parameter) not in architecture:
                first[id(parameter)] = name
                self.weights[name] = parameter
        self._buffers = dict(model.named_buffers(remove_duplicate=False))

    def __call__(self, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return self.with_logits(weights, batch)[0]

    def with_logits(self, weights: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and logits of `batch` at `weights` (name -> tensor); BatchNorm updates copies of its buffers."""
        images, labels = batch
        tensors = {name: buffer.clone() for name, buffer in self._buffers.items()}
        tensors.update(weights)
        tensors.update({alias: weights[name] for alias, name in self._aliases.items() if name in weights})
        # Aliases are in the dictionary, so torch need not look for tied weights by walking the modules.
        logits = functional_call(self.model, tensors, (images,), tie_weights=False)
        return self.criterion(logits, labels), logits


def criterion_of(module: LightningModule) -> Criterion:
    """The side-effect-free loss of an evaluator's Lightning module.

    NNI's `ClassificationModule` and ours both have it under the name `criterion`. `training_step` would log metrics and
    so mix what is measured on training data with what is measured on validation data.
    """
    criterion = getattr(module, "criterion", None)
    if not callable(criterion):
        raise Refusal(
            f"the evaluator's module {type(module).__name__} needs a method criterion(logits, labels) for the loss"
        )
    return criterion


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[Callable[[], None]]:
    """Leave torch's random state as it was found; calling what is yielded rewinds to it.

    Rewinding before every pass makes dropout draw the same masks at ω, ω+ and ω−, which Eq. 8 needs to be a derivative.
    """
    cpu_state = torch.get_rng_state()
    device_state: Any = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def rewind() -> None:
        torch.set_rng_state(cpu_state)
        if device_state is not None:
            torch.cuda.set_rng_state(device_state, device)

    try:
        yield rewind
    finally:
        rewind()

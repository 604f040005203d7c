"""Noticing at once that a training run diverges, saying where, and going back to the last good state.

A step with a non-finite gradient is skipped and usually harmless. It is the beginning of the end when several follow
each other, or when the batch has already put non-finite values into the running statistics of a normalization, which
no later step would mend.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn

from rrnet_nni.base.errors import ExecutionFault

from .module import ClassificationModule

_logger = logging.getLogger(__name__)

#: Skipped steps in a row that count as divergence.
PATIENCE = 5
#: Returns to the last good state before the run is given up.
MAX_FALLBACKS = 5


@dataclass(frozen=True)
class Fallback:
    """One return to the last good state: when, and the layer whose values had run away."""

    epoch: int
    step: int
    layer: str


class DivergenceGuard(lightning.Callback):
    """Goes back to the state after the last good epoch, at half the learning rate, when a run diverges.

    Attributes:
        fallbacks: what happened so far.
    """

    def __init__(self) -> None:
        self.fallbacks: list[Fallback] = []
        self._skipped_before = self._in_a_row = 0
        self._good: tuple[dict[str, Any], dict[str, Any]] | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassificationModule)
        self._skipped_before = module.skipped_steps
        self._keep(trainer, module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, ClassificationModule)
        skipped = module.skipped_steps > self._skipped_before
        self._skipped_before = module.skipped_steps
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        if self._in_a_row >= PATIENCE or (skipped and not finite_buffers(module.model)):
            self._fall_back(trainer, module, batch[0])

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassificationModule)
        if self._in_a_row == 0:
            self._keep(trainer, module)

    def _keep(self, trainer: lightning.Trainer, module: ClassificationModule) -> None:
        self._good = copy.deepcopy((module.model.state_dict(), trainer.optimizers[0].state_dict()))

    def _fall_back(self, trainer: lightning.Trainer, module: ClassificationModule, images: Tensor) -> None:
        assert self._good is not None
        layer = divergent_layer(module.model, images)
        fallback = Fallback(trainer.current_epoch + 1, trainer.global_step, layer)
        self.fallbacks.append(fallback)
        if len(self.fallbacks) > MAX_FALLBACKS:
            raise ExecutionFault(
                f"training diverged {len(self.fallbacks)} times, last in layer {layer} in epoch {fallback.epoch}: "
                "lower learning_rate, w1_bound or x2act_w1"
            )
        _logger.warning(
            "training diverged in layer %s in epoch %d: back to the last good state at half the learning rate",
            layer,
            fallback.epoch,
        )
        weights, optimizer_state = self._good
        module.model.load_state_dict(weights)
        # Loading takes the tensors over, and the kept state must survive another divergence.
        trainer.optimizers[0].load_state_dict(copy.deepcopy(optimizer_state))
        module.learning_rate_scale /= 2
        self._in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        return {"fallbacks": [(fallback.epoch, fallback.step, fallback.layer) for fallback in self.fallbacks]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.fallbacks = [Fallback(*fallback) for fallback in state_dict["fallbacks"]]


def finite_buffers(model: nn.Module) -> bool:
    """Whether all running statistics are finite."""
    return all(bool(torch.isfinite(buffer).all()) for buffer in model.buffers() if buffer.is_floating_point())


@torch.no_grad()
def divergent_layer(model: nn.Module, images: Tensor) -> str:
    """The first layer in forward order whose output is not finite on these images, else the one with the largest.

    Leaves the running statistics changed: call it before a known state is loaded.
    """
    peaks: list[tuple[str, float]] = []

    def measure(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            peaks.append((getattr(module, "label", name), float(output.detach().abs().max())))

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(measure(name)) for name, module in leaves]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    runaway = next((name for name, peak in peaks if peak != peak or peak == float("inf")), None)
    return runaway or max(peaks, key=lambda named: named[1])[0]

"""The last epochs of a polynomial network's training: statistics stand still, and what learns is what is evaluated.

In training an outlier raises the variance that divides it; at inference it meets frozen statistics and grows from
square to square. While they stand still in training too, the loss sees such images and takes them back.
"""

from __future__ import annotations

import math

import pytorch_lightning as lightning
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rrnet_nni.search_spaces import x2act_modules

from .options import TrainingOptions

#: Of the learning rate, and the share of the settling over which that is come to.
SETTLING_RATE, SETTLING_WARMUP = 0.02, 0.1
#: Times the range loss of other epochs: at such a rate it asks for little otherwise.
SETTLING_RANGE = 10.0


def settle(network: nn.Module, settled: bool) -> None:
    """Let the statistics of a network in training mode stand still, or move again."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train(not settled)
    for square in x2act_modules(network):
        square.settled = settled


def settling_factor(done: float) -> float:
    """Of the learning rate: linear warm-up, then cosine to zero, by the share of the settling that is done."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return SETTLING_RATE * min(1.0, done / SETTLING_WARMUP) * cosine


class Settling(lightning.Callback):
    """Settles the network before the first of its settling epochs, also where a run goes on in one of them."""

    def __init__(self, options: TrainingOptions, network: nn.Module) -> None:
        self._first = options.epochs - options.settling_epochs
        self._network = network

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        settle(self._network, trainer.current_epoch >= self._first)
